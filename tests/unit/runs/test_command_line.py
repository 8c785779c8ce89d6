"""The command that a message offers."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import RunLayout

COMMANDS = CommandLine(program=("launcher",), default_root="/home/me/outputs")


def test_a_run_in_the_default_root_is_named_by_its_id_alone() -> None:
    layout = RunLayout.of("/home/me/outputs", "r1")
    assert COMMANDS.of_run(layout, "resume") == "launcher resume r1"


def test_any_other_root_is_named_and_quoted_once() -> None:
    assert (
        COMMANDS.of_run(RunLayout.of("/shared/me", "r1"), "status", options=["--follow"])
        == "launcher status r1 storage.root=/shared/me --follow"
    )
    layout = RunLayout.of("/shared/my runs", "r1")
    assert COMMANDS.of_run(layout, "why") == "launcher why r1 'storage.root=/shared/my runs'"


def test_without_a_known_default_every_command_names_the_root() -> None:
    layout = RunLayout.of("/shared/me", "r1")
    assert ANYWHERE.of_run(layout, "stop") == "python -m launcher stop r1 storage.root=/shared/me"


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = COMMANDS.of_run(RunLayout.of("out", "r1"), "status")
    assert shlex.split(command)[-1] == f"storage.root={tmp_path}/out"


def test_the_program_is_written_as_the_user_called_it() -> None:
    commands = CommandLine(
        program=("/opt/my env/python3.11", "-m", "launcher"), default_root="/home/me/outputs"
    )
    layout = RunLayout.of("/home/me/outputs", "r1")
    assert (
        commands.of_run(layout, "checkpoints", "verify")
        == "'/opt/my env/python3.11' -m launcher checkpoints verify r1"
    )
