"""What the kernel knows about a process of this machine, from /proc.

Two programs that run on other nodes, in `launcher.transports.remote`, travel as text and cannot
import this.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["ProcessInfo", "boot_id", "find", "pids", "signal_name"]


class ProcessInfo(NamedTuple):
    """A process that has not ended."""

    parent: int
    group: int
    started: str
    """Start time in clock ticks since boot: process ids are used again, the pair is not."""
    has_terminal: bool = False
    """Whether its session has a controlling terminal."""


def find(pid: int) -> ProcessInfo | None:
    """Return the process `pid`, or None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name may contain spaces and parentheses: count from its end.
    state, *fields = stat.rpartition(")")[2].split()
    if state in "ZX":
        return None
    return ProcessInfo(
        parent=int(fields[0]),
        group=int(fields[1]),
        started=fields[18],
        has_terminal=fields[3] != "0",
    )


def pids() -> Iterator[int]:
    """Yield the ids of all processes."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def boot_id() -> str:
    """Return what names the current boot of this machine; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9, and `signal 99` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
