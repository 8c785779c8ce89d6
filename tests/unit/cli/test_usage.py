"""`--help`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.cli.verbs import VERBS
from launcher.config.keys import all_keys


@pytest.mark.parametrize("words", [(), *((verb,) for verb in VERBS)], ids=" ".join)
def test_help_fits_80_columns(types: Any, words: tuple[str, ...]) -> None:
    said = types(*words, "--help")
    assert said.code == 0
    too_long = [line for line in said.out.splitlines() if len(line) > 80]
    assert [line for line in too_long if "launcher -m" not in line] == []


def test_the_overview_names_verbs_choices_fixed_names_and_exit_codes(types: Any) -> None:
    out = types("-h").out
    for wanted in (*VERBS, "bert_finetune", "minilm", "docstrings", "torchrun", "train.lr=", "130"):
        assert wanted in out


def test_help_of_run_names_every_key_with_its_default(types: Any) -> None:
    out = types("run", "--help").out
    for key in all_keys():
        assert f"  {key}=" in out
    assert "  nodes=auto\n" in out


@pytest.mark.parametrize("verb", ["plan", "doctor", "stage", "resume"])
def test_help_of_another_verb_names_the_keys_used_most_and_where_all_are(
    types: Any, verb: str
) -> None:
    out = types(verb, "--help").out
    for wanted in ("  nodes=", "  storage.root=", "  train.epochs=", "minilm", "run --help lists"):
        assert wanted in out
    assert "supervise.max_restarts" not in out
    assert len(out.splitlines()) < len(types("run", "--help").out.splitlines()) / 2


def test_a_users_own_recipe_stands_in_the_help(types: Any, here: Path) -> None:
    (here / "conf" / "recipe").mkdir(parents=True)
    (here / "conf" / "recipe" / "mine.yaml").write_text(
        "# @package _global_\nrecipe:\n  program: mine.py\n  description: all my own work\n"
    )
    assert "all my own work" in types("--help").out


def test_help_helps_whatever_else_is_wrong(types: Any) -> None:
    assert types("--help", "--config-dir", "nowhere", "nonsense=1").code == 0
