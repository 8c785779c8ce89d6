"""A user's own project needs no fork of the launcher."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from launcher import config
from launcher.errors import ConfigError

RECIPE = """\
# @package _global_
defaults:
  - override /model: small

recipe:
  program: mine.py
  description: a recipe of my own
train:
  lr: 0.5
params:
  depth: 3
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    (folder / "conf" / "recipe").mkdir(parents=True)
    (folder / "conf" / "model").mkdir()
    (folder / "conf" / "recipe" / "mine.yaml").write_text(RECIPE)
    (folder / "conf" / "model" / "small.yaml").write_text("name: small\nsource: /models/small\n")
    (folder / "mine.py").write_text("print('mine')\n")
    return folder


def test_a_conf_beside_where_one_stands_adds_recipes(project: Path) -> None:
    loaded = config.load(["recipe=mine", "params.depth=4"], cwd=project)
    assert loaded.recipe.name == "mine"  # the file did not say
    assert loaded.recipe.program == str(project / "mine.py")
    assert (loaded.model.source, loaded.train.lr) == ("/models/small", 0.5)
    assert loaded.params == {"depth": 4}


def test_config_dir_does_the_same_from_anywhere(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    loaded = config.load(["recipe=mine"], config_dirs=[project / "conf"], cwd=elsewhere)
    assert loaded.recipe.program == str(project / "mine.py")
    loaded = config.load(["recipe=mine"], config_dirs=[Path("../a project/conf")], cwd=elsewhere)
    assert loaded.model.name == "small"


def test_ours_can_still_be_chosen(project: Path) -> None:
    (project / "train.py").write_text("")
    loaded = config.load(["recipe=script", "script=train.py", "model=small"], cwd=project)
    assert (loaded.recipe.name, loaded.model.name) == ("script", "small")


def test_a_typo_offers_the_users_own_names(project: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(["recipe=mien"], cwd=project)
    assert "`mine`" in caught.value.hint


def test_ours_is_used_where_both_have_a_file_and_that_is_said(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "conf" / "model" / "bert_tiny.yaml").write_text("name: theirs\n")
    with caplog.at_level(logging.WARNING, logger="launcher.config.load"):
        loaded = config.load(["recipe=mine", "model=bert_tiny"], cwd=project)
    assert loaded.model.name == "bert_tiny"
    assert "is not used" in caplog.text
    assert str(project / "conf" / "model" / "bert_tiny.yaml") in caplog.text


def test_a_root_config_of_theirs_is_said_to_be_unused(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "conf" / "config.yaml").write_text("nodes: 7\n")
    with caplog.at_level(logging.WARNING, logger="launcher.config.load"):
        assert config.load(["recipe=mine"], cwd=project).nodes == "auto"
    assert "config.yaml is not used" in caplog.text


@pytest.fixture
def hydra_project(tmp_path: Path) -> Path:
    """A project of another Hydra program; some of its choices have the names of ours."""
    for name in ("model/resnet", "model/bert_tiny", "cluster/local", "optimizer/adam", "config"):
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("_target_: x.Y\nname: theirs\n", encoding="utf-8")
    (tmp_path / "train.py").write_text("")
    return tmp_path


@pytest.mark.parametrize("words", [[], ["nodes=2"], ["model=bert_base"], ["cluster.port=1234"]])
def test_the_conf_of_another_hydra_program_causes_no_warning(
    hydra_project: Path, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="launcher.config.load"):
        config.load(["recipe=script", "script=train.py", *words], cwd=hydra_project)
    assert caplog.text == ""


@pytest.mark.parametrize("words", [["model=bert_tiny"], ["cluster=local"]])
def test_a_typed_choice_that_both_have_is_read_from_ours_and_that_is_said(
    hydra_project: Path, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="launcher.config.load"):
        loaded = config.load(["recipe=script", "script=train.py", *words], cwd=hydra_project)
    assert (loaded.model.name, loaded.cluster.name) != ("theirs", "theirs")
    assert caplog.text.count("is not used") == 1


def test_a_folder_that_is_named_is_spoken_of(
    hydra_project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="launcher.config.load"):
        config.load(
            ["recipe=script", "script=train.py"], cwd=hydra_project, config_dirs=[Path("conf")]
        )
    assert "config.yaml is not used" in caplog.text


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        config.load(["recipe=mine"], config_dirs=[Path("nowhere")], cwd=tmp_path)


BROKEN = {
    "unknown key": ("# @package _global_\ntrain:\n  max_step: 3\n", "train.max_step", "max_steps"),
    "bad value": ("# @package _global_\ntrain: {lr: many}\n", "expected a number", "train.lr"),
    "no package line": ("recipe:\n  program: mine.py\n", "unknown key", "@package _global_"),
    "unknown choice": (
        "# @package _global_\ndefaults:\n  - override /model: minilmm\nrecipe: {program: m.py}\n",
        "unknown model `minilmm`",
        "minilm",
    ),
    "unknown group": (
        "# @package _global_\ndefaults:\n  - override /modell: minilm\nrecipe: {program: m.py}\n",
        "modell",
        "did you mean `model`",
    ),
    "no yaml": ("# @package _global_\nrecipe: [\n", "not valid YAML", "fix"),
    "no program": ("# @package _global_\nnodes: 2\n", "has no program", "program: train.py"),
    "missing value": (
        "# @package _global_\nrecipe: {program: mine.py}\nparams:\n  depth: ???\n",
        "params.depth",
        "params.depth=...",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_in_their_file_names_the_file(project: Path, name: str) -> None:
    text, says, offers = BROKEN[name]
    (project / "conf" / "recipe" / "broken.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(["recipe=broken"], cwd=project)
    assert says in f"{caught.value.message} {caught.value.context}"
    assert offers in caught.value.hint
    if name != "missing value":  # is about the key, wherever it came from
        assert "broken" in str(caught.value) or "a config file" in str(caught.value)
