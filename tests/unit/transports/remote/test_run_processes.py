"""Which processes get a signal; `tests/unit/supervise/test_run_processes.py` has the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from launcher.transports.remote import run_processes

pytestmark = pytest.mark.process

RUN = {"LAUNCHER_RUN_ID": "r1", "LAUNCHER_RUN_DIR": "/runs/r1"}
MARKS = run_processes.marks("r1", "/runs/r1")

Start = Callable[[dict[str, str]], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def sleep(env: dict[str, str]) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["/bin/cat"], env=env, stdin=subprocess.PIPE)
        started.append(child)
        return child

    yield sleep
    for child in started:
        child.kill()
        child.communicate()


@pytest.fixture(params=["with a process handle", "without one"])
def _handles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without one":  # as on an old kernel, or in some builds of Python
        monkeypatch.delattr(os, "pidfd_open")


@pytest.mark.usefixtures("_handles")
def test_a_signal_is_sent_only_to_processes_of_the_run(start: Start) -> None:
    ours, stranger = start(RUN), start({"LAUNCHER_RUN_ID": "r1"})
    ended = start(RUN)
    ended.kill()
    ended.wait()
    pids = [stranger.pid, ours.pid, ended.pid, 2**22 - 1]
    assert run_processes.send(pids, signal.SIGTERM, MARKS) == [ours.pid]
    assert ours.wait(30) == -signal.SIGTERM
    assert stranger.poll() is None


def test_it_needs_nothing_but_its_own_text(start: Start) -> None:
    ours = start(RUN)
    done = subprocess.run(
        [sys.executable, "-I", "-S", run_processes.__file__],
        input='{"run_id": "r1", "run_dir": "/runs/r1"}',
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f'{{"pids": [{ours.pid}]}}\n'
    assert ours.wait(30) == -signal.SIGKILL
