"""Who supervises a run now: `supervisor.json`.

It keeps two supervisors from working on one run, and lets `status` tell a run that goes on from one
whose supervisor was killed.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from launcher.runs.files import replace
from launcher.specs import RunLayout, from_json, to_json

STALE_S = 30.0
"""On another host the heartbeat is all we see; older than this it counts as gone."""


@dataclass(frozen=True, kw_only=True)
class Supervisor:
    """One supervisor's sign of life."""

    pid: int
    host: str
    process_started: str
    """Start time of the process in the kernel's words, since process ids are used again."""
    heartbeat_at: float
    attempt: int
    boot_id: str = ""
    """Which boot of the host it belongs to; hosts of the same name are told apart by it too."""

    @property
    def name(self) -> str:
        return f"process {self.pid} on {self.host}"


def beat(layout: RunLayout, *, attempt: int) -> None:
    """Say that this process supervises the run and is alive."""
    own = Supervisor(
        pid=os.getpid(),
        host=socket.gethostname(),
        process_started=_process_started(os.getpid()),
        heartbeat_at=time.time(),
        attempt=attempt,
        boot_id=_boot_id(),
    )
    replace(layout.supervisor, to_json(own))


def leave(layout: RunLayout) -> None:
    """Say that nobody supervises the run any more; only takes back this process's own word."""
    found = read_supervisor(layout)
    if found is not None and found.pid == os.getpid() and found.boot_id == _boot_id():
        layout.supervisor.unlink(missing_ok=True)


def read_supervisor(layout: RunLayout) -> Supervisor | None:
    """Return the last supervisor that wrote, alive or not."""
    try:
        return from_json(Supervisor, layout.supervisor.read_bytes())
    except (OSError, ValueError):
        return None


def is_alive(found: Supervisor | None, *, now: float | None = None) -> bool:
    """Return whether that supervisor still works, as far as can be told from here."""
    if found is None:
        return False
    if found.host == socket.gethostname() and found.boot_id == _boot_id():
        return bool(found.process_started) and found.process_started == _process_started(found.pid)
    return (time.time() if now is None else now) - found.heartbeat_at < STALE_S


def _process_started(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
