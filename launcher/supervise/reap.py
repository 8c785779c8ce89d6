"""Finding and ending what is left of a run on this host, each process by its id.

A process belongs to a run when it was started with the run's folder in its environment. The name
of a program proves nothing, and neither does a process id that may be another's by now.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from launcher.specs import RunLayout


def processes_of(layout: RunLayout) -> list[int]:
    """Return the ids of all live processes on this host that belong to the run."""
    own = _own_line()
    return [
        pid
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (pid := int(entry.name)) not in own and belongs(pid, layout)
    ]


def belongs(pid: int, layout: RunLayout) -> bool:
    """Return whether `pid` is a live process of the run."""
    wanted = {
        b"LAUNCHER_RUN_ID=" + layout.run_id.encode(),
        b"LAUNCHER_RUN_DIR=" + os.fsencode(layout.path),
    }
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it ended, or is another user's
        return False
    return wanted <= set(variables)  # a zombie's environment is empty


def send(pid: int, number: int, layout: RunLayout) -> bool:
    """Send a signal to `pid` if it (still) belongs to the run; say whether it was sent."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            # Asked while we hold it: whoever has this id now is the one that gets the signal.
            if belongs(pid, layout):
                signal.pidfd_send_signal(handle, number)
                return True
        finally:
            os.close(handle)
    return False


def reap(layout: RunLayout, *, timeout_s: float = 5.0) -> list[int]:
    """Kill every process of the run on this host and wait for their end; return who was left."""
    reaped: list[int] = []
    deadline = time.monotonic() + timeout_s
    while (left := processes_of(layout)) and time.monotonic() < deadline:
        reaped += [pid for pid in left if send(pid, signal.SIGKILL, layout) and pid not in reaped]
        time.sleep(0.02)
    return reaped


def _own_line() -> set[int]:
    """This process and its ancestors: when a rank starts a launcher, that must not end itself."""
    line = set()
    pid = os.getpid()
    while pid > 1 and pid not in line:
        line.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return line
