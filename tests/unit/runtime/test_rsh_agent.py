"""Asking the agent of another node to run what mpirun would run there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.runtime.environ import LaunchEnviron
from launcher.runtime.rsh_agent import LaunchRequest, close_all


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"LAUNCHER_RUN_DIR": str(tmp_path / "run"), "LAUNCHER_ATTEMPT": "2"}


@pytest.fixture
def launch(environ: dict[str, str]) -> LaunchEnviron:
    return LaunchEnviron.from_environ(environ)


def test_what_is_sent_is_read_and_nothing_before(launch: LaunchEnviron) -> None:
    request = LaunchRequest.of("10.0.0.2", launch)
    request.create()
    assert request.read() is None
    LaunchRequest.of("10.0.0.2", launch).send(["orted", "a b", "it's"])
    assert request.read() == ["orted", "a b", "it's"]


def test_a_request_that_is_sent_before_the_node_looks_is_not_lost(launch: LaunchEnviron) -> None:
    request = LaunchRequest.of("10.0.0.2", launch)
    request.create()
    request.send(["orted"])
    request.create()
    assert request.read() == ["orted"]


def test_half_a_request_is_not_read(launch: LaunchEnviron) -> None:
    request = LaunchRequest.of("h", launch)
    request.create()
    request.path.write_text('["orted", "-mca"')
    assert request.read() is None


def test_only_its_owner_may_write_it(launch: LaunchEnviron) -> None:
    request = LaunchRequest.of("h", launch)
    request.create()
    assert request.path.stat().st_mode & 0o077 == 0


def test_after_closing_no_node_waits_for_a_request(launch: LaunchEnviron) -> None:
    early, late = LaunchRequest.of("early", launch), LaunchRequest.of("late", launch)
    early.create()
    close_all(launch)
    late.create()
    assert early.read() == late.read() == []


@pytest.mark.process
def test_it_is_called_as_ssh_is(environ: dict[str, str], launch: LaunchEnviron) -> None:
    words = ["A=1;export", "A;PATH=/x:$PATH ; /opt/bin/orted -mca", "uri '1.0;tcp://10.0.0.1:5'"]
    subprocess.run(
        [sys.executable, "-m", "launcher.runtime.rsh_agent", "10.0.0.2", *words],
        env={**os.environ, **environ},
        check=True,
    )
    assert LaunchRequest.of("10.0.0.2", launch).read() == [
        *("A=1", ";", "export", "A", ";", "PATH=/x:$PATH", ";"),
        *("/opt/bin/orted", "-mca", "uri", "1.0;tcp://10.0.0.1:5"),
    ]


def test_without_a_run_folder_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="LAUNCHER_RUN_DIR"):
        LaunchRequest.of("h", LaunchEnviron.from_environ({}))
