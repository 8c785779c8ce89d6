"""The ranks that an agent forked: started, ended and reaped by id, never by name."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from launcher import processes
from launcher.runtime.environ import RankEnviron
from launcher.runtime.stop import STOP_SIGNALS

__all__ = ["Child", "End", "die_with", "fork_rank"]

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1

_LEFTOVER_S = 0.3
"""What a rank's own children get between SIGTERM and SIGKILL once the rank has ended."""


@dataclass(frozen=True, kw_only=True)
class End:
    """How a rank's process ended."""

    exit_code: int | None
    signal: int | None
    at: float

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def shell_code(self) -> int:
        """The exit code a shell would make of it."""
        return 128 + (self.signal or 0) if self.exit_code is None else self.exit_code

    def __str__(self) -> str:
        if self.signal is not None:
            return f"was ended by {signal.Signals(self.signal).name}"
        return f"left with exit code {self.exit_code}"


@dataclass(kw_only=True)
class Child:
    """One rank's process: leader of its own session, and so of its process group."""

    place: RankEnviron
    pid: int
    started_at: float = field(default_factory=time.time)
    end: End | None = None

    def send(self, number: signal.Signals) -> None:
        """Signal the rank alone: what it forked must not take part in saving."""
        if self.end is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the rank and everything it started, now."""
        if self.end is None:
            _signal_group(self.pid, signal.SIGKILL)

    def reap(self) -> End | None:
        """Return how it ended, once it has; the processes it left behind are ended first."""
        if self.end is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            at = time.time()
            # Not waited for yet, the dead leader keeps its id, and so the group's, from being
            # given to a stranger.
            _end_group(self.pid)
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self.end = End(
                exit_code=code if code >= 0 else None, signal=-code if code < 0 else None, at=at
            )
        return self.end


def fork_rank(place: RankEnviron) -> Child | None:
    """Fork a process for one rank; returns None in that process.

    The caller must be the only thread. The rank gets its own session, so that a terminal's Ctrl-C
    never reaches it; it dies with the agent; stop signals are held back in it until its own
    handlers are there.
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
    """Have the kernel kill this process when `parent` dies, also if that has happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _end_group(leader: int) -> None:
    """End what a dead rank left in its group: data-loader workers, helpers it started."""
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
