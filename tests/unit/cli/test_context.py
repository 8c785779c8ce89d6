"""Every command that a message offers does what it says when it is typed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from launcher import config
from launcher.cli.arguments import parse, typed_program
from launcher.cli.verbs import VERBS
from launcher.runs import events
from launcher.runs.command_line import CommandLine
from launcher.specs import RunLayout
from tests.run_folder import T0, RunFolder


@pytest.mark.parametrize(
    "root",
    [
        "/shared/me",
        "/shared/my runs",
        "/shared/it's",
        '/shared/a"b',
        "/shared/a,b",
        "/shared/a=b",
        "/shared/$HOME",
        "/shared/${x}",
        "/shared/a(b){c}[d]",
        "/shared/a\\b",
        "/shared/both 'kinds' of \"quotes\"",
    ],
)
def test_a_command_finds_the_root_that_it_names(root: str) -> None:
    commands = CommandLine(program=("python3.11", "-m", "launcher"), default_root="/other")
    typed = shlex.split(commands.of_run(RunLayout.of(root, "r1"), "resume"))
    assert typed[:3] == ["python3.11", "-m", "launcher"]
    invocation = parse(typed[3:], VERBS)
    assert (invocation.verb, invocation.words) == ("resume", ("r1",))
    loaded = config.load(invocation.overrides, require_recipe=False)
    assert loaded.storage.root == root


def failed_run(root: Path) -> RunLayout:
    layout = RunLayout.of(root, "r1")
    folder = RunFolder(layout=layout).begin().raised(0, "ValueError", "boom")
    folder.tell(events.RunEnded(at=T0 + 20, state="failed", exit_code=5))
    layout.config.write_text("")
    return layout


def test_a_run_in_the_root_of_the_environment_is_offered_with_its_root(
    types: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_run(tmp_path / "shared")
    monkeypatch.setenv("LAUNCHER_STORAGE_ROOT", str(tmp_path / "shared"))
    where = f"storage.root={tmp_path / 'shared'}"  # another shell may not have the variable
    assert f"`launcher why r1 {where}`" in types("status", "r1").out
    assert f"  launcher resume r1 {where}\n" in types("why", "r1").out
    monkeypatch.delenv("LAUNCHER_STORAGE_ROOT")
    assert f"`launcher why r1 {where}`" in types("status", "r1", where).out


def test_a_run_in_the_usual_folder_needs_a_root_if_the_environment_names_another(
    types: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_run(here / "outputs")
    assert "  launcher resume r1\n" in types("why", "r1").out
    monkeypatch.setenv("LAUNCHER_STORAGE_ROOT", str(here / "other"))
    where = f"storage.root={here}/outputs"
    assert f"  launcher resume r1 {where}\n" in types("why", "r1", where).out


def test_commands_start_as_the_user_called_the_launcher(types: Any, here: Path) -> None:
    root = here / "my runs"
    failed_run(root)
    program = ("python3.11", "-m", "launcher")
    said = types("why", "r1", f"storage.root={root}", program=program)
    assert f"  python3.11 -m launcher resume r1 'storage.root={root}'\n" in said.out
    assert "python3.11 -m launcher recipe=bert_finetune" in types("--help", program=program).out


def test_a_run_that_is_named_by_its_folder_is_resumed_in_its_own_root(
    types: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[config.LaunchConfig] = []

    def start(loaded: config.LaunchConfig, _: CommandLine) -> int:
        chosen.append(loaded)
        return 0

    monkeypatch.setattr("launcher.cli.verbs.run.start", start)
    layout = RunLayout.of(here / "elsewhere", "r1")
    layout.path.mkdir(parents=True)
    words = ["recipe=script", "script=train.py", "run_id=r1"]
    layout.config.write_text(config.dump(config.load(words, cwd=here)))
    assert types("resume", str(layout.path)).code == 0
    assert chosen[0].storage.root == str(here / "elsewhere")


@pytest.mark.parametrize(
    ("argv", "original", "program"),
    [
        ("/opt/launcher", "/usr/bin/python /opt/launcher", "/opt/launcher"),
        ("./launcher", "/usr/bin/python ./launcher", "./launcher"),
        ("/bin/sh", "/usr/bin/python /bin/sh", "sh"),
        ("/x/launcher/__main__.py", "python3.11 -m launcher a=b", "python3.11 -m launcher"),
        ("/x/__main__.py", "/opt/python -W error -m launcher", "/opt/python -W error -m launcher"),
        ("/x/launcher/__main__.py", "python -X utf8 -m launcher", "python -m launcher"),
        ("", "python -c pass", "launcher"),
    ],
)
def test_the_program_is_what_the_user_typed(
    argv: str, original: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/bin")
    assert shlex.join(typed_program([argv], original.split())) == program
