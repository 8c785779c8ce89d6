"""Shell completion, by asking as the shell does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def complete(types: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    def ask(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        found: list[str] = types("-sc", "query=bash").out.split()
        return found

    return ask


def test_choices_of_a_group(complete: Any) -> None:
    assert complete("launcher recipe=") == ["recipe=bert_finetune", "recipe=script"]
    assert complete("launcher plan recipe=script model=bert") == [
        "model=bert_base",
        "model=bert_tiny",
    ]


def test_keys_and_their_values(complete: Any) -> None:
    assert complete("launcher recipe=script train.max_s") == ["train.max_steps="]
    assert complete("launcher device=") == ["device=auto", "device=cpu", "device=cuda"]


def test_verbs_come_first_and_only_once(complete: Any) -> None:
    assert complete("launcher che")[0] == "checkpoints"
    assert "plan" not in complete("launcher plan ")
    assert complete("launcher ")[0] == "run"


def test_flags_are_those_of_the_verb(complete: Any) -> None:
    assert complete("launcher logs --r") == ["--rank"]
    assert complete("launcher why --r") == []


def test_runs_are_offered_where_a_run_is_wanted(complete: Any, make_run: Any) -> None:
    make_run("my-run")
    assert complete("launcher status my") == ["my-run"]
    assert "my-run" not in complete("launcher plan my")


def test_a_users_own_recipe_is_offered(complete: Any, here: Path) -> None:
    (here / "conf" / "recipe").mkdir(parents=True)
    (here / "conf" / "recipe" / "mine.yaml").write_text("# @package _global_\n")
    assert "recipe=mine" in complete("launcher recipe=")


def test_a_mistake_earlier_in_the_line_completes_to_nothing(complete: Any) -> None:
    assert complete("launcher recipe=nope nodes") == []


def test_an_unknown_shell_or_action_is_told(types: Any) -> None:
    assert types("-sc", "query=tcsh").code == 2
    said = types("--shell-completion", "frobnicate")
    assert said.code == 2
    assert "install" in said.err


@pytest.mark.process
def test_bash_itself_completes_after_installing(here: Path) -> None:
    """Hydra's function asks the command by its name, so one of that name is put in the path."""
    command = here / "launcher"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nfrom launcher.cli import entry_point\n"
        "sys.argv[0] = 'launcher'\nentry_point()\n"
    )
    command.chmod(0o755)
    script = (
        'eval "$(launcher -sc install=bash)"; COMP_LINE="launcher recipe=s" COMP_CWORD=1 '
        'COMP_POINT=17; hydra_bash_completion; echo "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{here}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=here, env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["recipe=script"], done.stderr
