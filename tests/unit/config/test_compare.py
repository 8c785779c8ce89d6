"""Which changes a resumed run accepts, and which it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import config
from launcher.config.compare import differences, longer, require_same_run
from launcher.config.keys import all_keys
from launcher.errors import ConfigError

BASE = ("recipe=script", "script=train.py", "model=bert_tiny", "data=docstrings", "run_id=r")

HARMLESS = [
    ("nodes=3",),
    ("slots=2",),
    ("device=cpu",),
    ("cluster.port=4000",),
    ("storage.root=/elsewhere",),
    ("resume=required",),
    ("train.micro_batch_size=4",),
    ("train.precision=fp32",),
    ("train.compile=false",),
    ("train.eval_every_steps=5",),
    ("train.log_every_steps=5",),
    ("train.record_samples=true",),
    ("checkpoint.every_steps=5",),
    ("checkpoint.keep=5",),
    ("supervise.max_restarts=0",),
    ("preflight.min_free_gb=0",),
    ("env.X=1",),
]
MATTER = [
    ("script=other.py",),
    ("args=[--x]",),
    ("model=minilm",),
    ("data=jsonl", "data.train=a", "data.test=b"),
    ("data.text=body",),
    ("params.depth=3",),
    ("determinism=logical_shards",),
    ("logical_shards=4",),
    *[
        (f"train.{name}={value}",)
        for name, value in {
            "max_steps": 3,  # may be more or less than its epochs
            "batch_size": 64,
            "lr": 1,
            "head_lr": 1,
            "weight_decay": 1,
            "warmup_ratio": 0.5,
            "max_grad_norm": 2,
            "max_length": 64,
            "seed": 1,
        }.items()
    ],
]


LONGER = [
    ("train.max_steps=10", "train.max_steps=11"),
    ("train.epochs=1", "train.epochs=3"),
]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("started")
    for name in ("train.py", "other.py"):
        (folder / name).write_text("")
    file = folder / "config.yaml"
    file.write_text(config.dump(config.load(BASE, cwd=folder)))
    return file


@pytest.mark.parametrize("changed", HARMLESS, ids=" ".join)
def test_where_and_how_it_runs_may_change(started: Path, changed: tuple[str, ...]) -> None:
    now = config.load([*BASE, *changed], cwd=started.parent)
    assert not any(each.matters for each in require_same_run(started, now))


@pytest.mark.parametrize("changed", MATTER, ids=" ".join)
def test_what_is_trained_may_not_change(started: Path, changed: tuple[str, ...]) -> None:
    now = config.load([*BASE, *changed], cwd=started.parent)
    with pytest.raises(ConfigError) as caught:
        require_same_run(started, now)
    assert "then" in caught.value.context
    assert f"`python -m launcher resume {started.parent.name} " in caught.value.hint
    # resume=never takes nothing from the old checkpoints
    require_same_run(started, config.load([*BASE, *changed, "resume=never"], cwd=started.parent))


@pytest.mark.parametrize(("then", "now"), LONGER)
def test_a_run_may_be_made_longer_but_not_shorter(tmp_path: Path, then: str, now: str) -> None:
    (tmp_path / "train.py").write_text("")
    short, long = (config.load([*BASE, each], cwd=tmp_path) for each in (then, now))
    file = tmp_path / "config.yaml"
    file.write_text(config.dump(short))
    found = require_same_run(file, long)
    assert longer(found) == f"{then.replace('=', ' from ')} to {now.partition('=')[2]}"
    assert longer(require_same_run(file, short)) == ""
    file.write_text(config.dump(long))
    with pytest.raises(ConfigError) as caught:
        require_same_run(file, short)
    assert " now" in caught.value.context


def test_a_longer_run_of_another_kind_is_refused_all_the_same(started: Path) -> None:
    now = config.load([*BASE, "train.epochs=3", "train.seed=7"], cwd=started.parent)
    with pytest.raises(ConfigError) as caught:
        require_same_run(started, now)
    assert caught.value.context == "train.seed: 42 then, 7 now"


def test_every_key_of_training_is_in_one_of_the_two_tables() -> None:
    told = {text.partition("=")[0] for each in (*HARMLESS, *MATTER, *LONGER) for text in each}
    assert {key for key in all_keys() if key.startswith("train.")} <= told


def test_another_recipe_is_refused_even_from_step_0(started: Path) -> None:
    (started.parent / "conf" / "recipe").mkdir(parents=True)
    (started.parent / "conf" / "recipe" / "mine.yaml").write_text(
        "# @package _global_\nrecipe:\n  name: mine\n  program: train.py\n"
    )
    now = config.load(["recipe=mine", "run_id=r", "resume=never"], cwd=started.parent)
    with pytest.raises(ConfigError, match="belongs to recipe `script`, not `mine`"):
        require_same_run(started, now)


def test_old_and_new_values_are_shown(started: Path) -> None:
    now = config.load([*BASE, "train.seed=7", "train.lr=0.1"], cwd=started.parent)
    with pytest.raises(ConfigError) as caught:
        require_same_run(started, now)
    assert "train.seed: 42 then, 7 now" in caught.value.context
    assert "train.lr: 5e-05 then, 0.1 now" in caught.value.context


def test_another_model_is_told_by_its_name_alone(started: Path) -> None:
    now = config.load([*BASE, "model=minilm", "train.seed=7"], cwd=started.parent)
    with pytest.raises(ConfigError) as caught:
        require_same_run(started, now)
    told = caught.value.context.splitlines()
    assert told == ["model.name: bert_tiny then, minilm now", "train.seed: 42 then, 7 now"]


def test_no_saved_configuration_means_a_new_run(tmp_path: Path) -> None:
    assert require_same_run(tmp_path / "none.yaml", config.LaunchConfig()) == ()


def test_another_place_of_installation_is_no_difference() -> None:
    then = {"model": {"source": "build:///old/build_tiny.py"}, "recipe": {"program": "/old/t.py"}}
    now = {"model": {"source": "build:///new/build_tiny.py"}, "recipe": {"program": "/new/t.py"}}
    assert not any(each.matters for each in differences(then, now))


def test_keys_that_came_or_went_with_a_version_are_no_difference() -> None:
    assert differences({"train": {"lr": 1, "old": 2}}, {"train": {"lr": 1, "new": 3}}) == ()
