"""Telling an agent on another node what mpirun wants there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.runtime.environ import LaunchEnviron
from launcher.runtime.rsh_agent import Letterbox, close_all


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"LAUNCHER_RUN_DIR": str(tmp_path / "run"), "LAUNCHER_ATTEMPT": "2"}


@pytest.fixture
def launch(environ: dict[str, str]) -> LaunchEnviron:
    return LaunchEnviron.from_environ(environ)


def test_what_is_posted_is_read_and_nothing_before(launch: LaunchEnviron) -> None:
    box = Letterbox.of("10.0.0.2", launch)
    box.open()
    assert box.read() is None
    Letterbox.of("10.0.0.2", launch).post(["orted", "a b", "it's"])
    assert box.read() == ["orted", "a b", "it's"]


def test_a_letter_that_comes_before_the_box_is_opened_is_not_lost(launch: LaunchEnviron) -> None:
    box = Letterbox.of("10.0.0.2", launch)
    box.open()
    box.post(["orted"])
    box.open()
    assert box.read() == ["orted"]


def test_a_letter_half_written_is_none(launch: LaunchEnviron) -> None:
    box = Letterbox.of("h", launch)
    box.open()
    box.path.write_text('["orted", "-mca"')
    assert box.read() is None


def test_only_its_owner_may_write_into_it(launch: LaunchEnviron) -> None:
    box = Letterbox.of("h", launch)
    box.open()
    assert box.path.stat().st_mode & 0o077 == 0


def test_a_closed_one_says_that_nothing_will_come(launch: LaunchEnviron) -> None:
    early, late = Letterbox.of("early", launch), Letterbox.of("late", launch)
    early.open()
    close_all(launch)
    late.open()
    assert early.read() == late.read() == []


@pytest.mark.process
def test_it_is_called_as_ssh_is(environ: dict[str, str], launch: LaunchEnviron) -> None:
    words = ["A=1;export", "A;PATH=/x:$PATH ; /opt/bin/orted -mca", "uri '1.0;tcp://10.0.0.1:5'"]
    subprocess.run(
        [sys.executable, "-m", "launcher.runtime.rsh_agent", "10.0.0.2", *words],
        env={**os.environ, **environ},
        check=True,
    )
    assert Letterbox.of("10.0.0.2", launch).read() == [
        *("A=1", ";", "export", "A", ";", "PATH=/x:$PATH", ";"),
        *("/opt/bin/orted", "-mca", "uri", "1.0;tcp://10.0.0.1:5"),
    ]


def test_without_a_run_folder_it_says_so() -> None:
    with pytest.raises(ConfigError, match="LAUNCHER_RUN_DIR"):
        Letterbox.of("h", LaunchEnviron.from_environ({}))
