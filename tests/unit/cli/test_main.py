"""Every end of a command is an exit code and at most a few lines."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.cli import verbs
from launcher.cli.main import main
from launcher.cli.verbs import VerbFunction
from launcher.errors import ConfigError, StagingError


class Raises:
    """A verb that ends badly."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, name: str) -> VerbFunction:
        return self.run

    def run(self, invocation: object) -> int:
        raise self.error


def test_a_mistake_is_told_with_its_context_and_a_way_out(types: Any) -> None:
    said = types("recipe=script", "script=train.py", "train.max_step=3")
    assert said.code == 2
    assert said.out == ""
    assert said.err.splitlines()[0] == "error: unknown key `train.max_step`"
    assert "hint:  did you mean `train.max_steps`?" in said.err


def test_an_error_ends_with_the_code_of_its_class(types: Any) -> None:
    error = StagingError("no route", hint="plug it in", context="one\ntwo")
    said = types("plan", verb=Raises(error))
    assert said.code == 4
    assert said.err == "error: no route\n  one\n  two\nhint:  plug it in\n"


def test_a_bug_is_one_sentence_and_the_traceback_is_in_a_file(types: Any) -> None:
    said = types("plan", "a=b c", verb=Raises(KeyError("oops")))
    assert said.code == 1
    assert "this is a bug in the launcher: KeyError: 'oops'" in said.err
    assert "Traceback" not in said.err
    found = re.search(r"/\S+/launcher-bug-\S+\.txt", said.err)
    assert found
    text = Path(found.group()).read_text()
    Path(found.group()).unlink()
    assert text.startswith("launcher plan 'a=b c'")
    assert "Traceback" in text


def test_ctrl_c_is_130_without_a_traceback(types: Any) -> None:
    said = types("plan", verb=Raises(KeyboardInterrupt()))
    assert (said.code, said.err) == (130, "interrupted\n")


def test_colors_are_for_terminals_only(types: Any) -> None:
    assert "\033" not in types("nonsense").err


@pytest.mark.process
def test_a_reader_that_left_is_no_error(here: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "launcher", "plan", "recipe=script", "script=train.py"],
        cwd=here,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert process.stderr == b""
    assert process.returncode == 141


def test_no_verb_and_no_recipe_says_what_to_type(types: Any) -> None:
    said = types()
    assert said.code == 2
    assert "expected a recipe, got none" in said.err
    assert "launcher recipe=" in said.err


def test_the_version_is_printed(types: Any) -> None:
    assert re.fullmatch(r"launcher \d+\.\d+\.\d+\S*\n", types("--version").out)


def test_the_version_of_a_program_is_not_ours(types: Any) -> None:
    said = types("hello.py", "--version")
    assert (said.code, said.out) == (2, "")
    assert "args=[--version]" in said.err


def test_every_verb_can_be_imported() -> None:
    for name in verbs.VERBS:
        assert callable(verbs.load(name))


def test_main_returns_and_never_raises_for_what_people_do(here: Path) -> None:
    del here
    for argv in (["why", "x", "y"], ["--config-dir"], ["plan", "extra"], ["=", "x"], ["-"], [""]):
        assert main(argv) == 2


def test_config_error_is_what_a_missing_folder_gives(types: Any) -> None:
    assert ConfigError.exit_code == 2
    assert types("plan", "--config-dir", "nowhere", "recipe=script").code == 2


def test_a_disk_that_takes_nothing_is_no_bug(types: Any) -> None:
    said = types("plan", verb=Raises(OSError(errno.ENOSPC, "No space left", "/data/config.yaml")))
    assert said.code == 3
    assert said.err.startswith("error: cannot write to `/data/config.yaml`: disk full\nhint:")


def in_shell(here: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `launcher` as a shell would, where closing a stream is a matter of two letters."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=here,
        env={**os.environ, "PYTHON": sys.executable, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
def test_closed_streams_change_nothing(here: Path) -> None:
    plan = '"$PYTHON" -m launcher plan recipe=script script=train.py'
    assert in_shell(here, f"{plan} >&-").returncode == 0
    assert in_shell(here, f"{plan} >&- 2>&-").returncode == 0


@pytest.mark.process
def test_letters_that_the_terminal_lacks_are_escaped(here: Path) -> None:
    plan = '"$PYTHON" -m launcher plan recipe=script script=train.py args=[ü]'
    said = in_shell(here, plan, PYTHONIOENCODING="ascii")
    assert said.returncode == 0, said.stderr
    assert r"\xfc" in said.stdout


NO_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "locale"),
    [("ünï 根".encode(), "C"), (b"caf\xe9", "C"), (b"caf\xe9", "C.UTF-8")],
    ids=["utf-8 in C", "latin-1 in C", "latin-1 in UTF-8"],
)
def test_a_root_and_a_script_of_any_name_work_in_any_locale(
    here: Path, name: bytes, locale: str
) -> None:
    root = here / os.fsdecode(name)
    root.mkdir()
    script = root / f"{root.name}.py"
    script.write_text("from launcher import runtime\nprint(runtime.init().rank)\n", "utf-8")
    environ = {**os.environ, **NO_UTF8, "LC_ALL": locale, "LANG": locale}

    def launcher(*words: str) -> bytes:
        said = subprocess.run(
            [sys.executable, "-m", "launcher", *words],
            cwd=root,
            env=environ,
            capture_output=True,
            check=False,
        )
        assert said.returncode == 0, said
        assert not any(word in said.stderr for word in (b"Traceback", b"warning", b"codec"))
        return said.stdout

    typed = ("recipe=script", f"script={script.name}", "run_id=r1")
    assert name in launcher(*typed)
    environ["LC_ALL"] = "C" if locale == "C.UTF-8" else "C.UTF-8"
    launcher("resume", "r1", "resume=never")
    assert (root / "outputs" / "runs" / "r1" / "report.html").is_file()


@pytest.mark.process
def test_the_line_to_type_has_the_bytes_that_the_user_typed(here: Path) -> None:
    name = "trän".encode() + b"\xe9.py"
    said = subprocess.run(
        [sys.executable, "-m", "launcher", os.fsdecode(name), "--epochs", "3"],
        cwd=here,
        env={**os.environ, **NO_UTF8, "LC_ALL": "C"},
        capture_output=True,
        check=False,
    )
    assert said.returncode == 2
    assert b'script="' + name + b'"' in said.stderr


@pytest.mark.process
def test_a_folder_that_was_removed_under_the_command_is_told(here: Path) -> None:
    gone = 'mkdir gone && cd gone && rmdir ../gone && "$PYTHON" -m launcher status'
    said = in_shell(here, gone)
    assert said.returncode == 2
    assert "the current folder was removed" in said.stderr
