"""Processes of this machine, looked up by id."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import processes

pytestmark = pytest.mark.process


def test_a_process_in_a_terminal_has_one() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("sh", ["sh", "-c", "echo started; exec cat"])
    try:
        assert os.read(terminal, 100).startswith(b"started")
        process = processes.find(pid)
        assert process is not None
        assert process.has_terminal
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def test_a_running_process_is_found_whatever_its_name_contains(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"], start_new_session=True) as child:
        try:
            process = processes.find(child.pid)
            assert process is not None
            assert (process.parent, process.group) == (os.getpid(), child.pid)
            assert not process.has_terminal
            assert child.pid in processes.pids()
        finally:
            child.kill()
    assert processes.find(child.pid) is None


def test_a_process_that_ended_is_not_found_even_before_its_parent_waits() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.find(child.pid) is None
    child.wait()


def test_the_start_time_tells_two_processes_with_one_id_apart() -> None:
    process = processes.find(os.getpid())
    assert process is not None
    assert int(process.started) > 0
    assert process == processes.find(os.getpid())


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (40, "signal 40"), (99, "signal 99")])
def test_every_signal_has_a_name_real_time_signals_too(number: int, name: str) -> None:
    assert processes.signal_name(number) == name
