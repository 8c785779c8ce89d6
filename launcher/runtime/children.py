"""The ranks that an agent forks: started, signalled and reaped by id, never by name."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from launcher import processes
from launcher.runtime.environ import RankEnviron
from launcher.runtime.stop import STOP_SIGNALS

__all__ = ["Child", "die_with", "fork_rank"]

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1

_LEFTOVER_S = 0.3
"""Time between SIGTERM and SIGKILL for the processes that an ended rank leaves behind."""


@dataclass(kw_only=True)
class Child:
    """The process of one rank: leader of its own session, and so of its process group."""

    place: RankEnviron
    pid: int
    returncode: int | None = None
    """As in `subprocess`: None while it runs, negative if a signal ended it."""
    ended_at: float = 0.0

    @property
    def running(self) -> bool:
        return self.returncode is None

    @property
    def shell_code(self) -> int:
        """The exit code that a shell reports for it."""
        code = self.returncode or 0
        return code if code >= 0 else 128 - code

    def __str__(self) -> str:
        name = f"rank {self.place.rank} (process {self.pid})"
        if self.returncode is None:
            return f"{name} runs"
        if self.returncode < 0:
            return f"{name} was killed by {processes.signal_name(-self.returncode)}"
        return f"{name} exited with code {self.returncode}"

    def send(self, number: signal.Signals) -> None:
        """Signal the rank alone: its own children take no part in saving."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the rank and everything in its process group."""
        if self.running:
            _signal_group(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Return whether it has ended. If so, first end what it left in its process group."""
        if self.running and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self.ended_at = time.time()
            # Until we wait for the dead leader, no other process or group can get its id.
            _end_group(self.pid)
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return not self.running


def fork_rank(place: RankEnviron) -> Child | None:
    """Fork a process for one rank; return None in that process.

    The caller must be the only thread. The rank gets its own session, so that a terminal's Ctrl-C
    never reaches it, and dies with the agent. Stop signals are blocked in it until its own handlers
    are installed.
    """
    agent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    pid = os.fork()
    if pid != 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return Child(place=place, pid=pid)
    os.setsid()
    die_with(agent)
    return None


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies, or now if it is dead already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _end_group(leader: int) -> None:
    """End what an ended rank left in its group, such as data-loader workers."""
    if not any(_members(leader)):
        return
    logger.info("ending the processes that process %d left behind", leader)
    _signal_group(leader, signal.SIGTERM)
    deadline = time.monotonic() + _LEFTOVER_S
    while any(_members(leader)) and time.monotonic() < deadline:
        time.sleep(0.01)
    _signal_group(leader, signal.SIGKILL)


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return


def _members(leader: int) -> Iterator[int]:
    """Yield the running processes of a group without its leader."""
    for pid in processes.pids():
        process = processes.find(pid) if pid != leader else None
        if process is not None and process.group == leader:
            yield pid
