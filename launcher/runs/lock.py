"""Who supervises a run now: `supervisor.json`.

It keeps two supervisors from working on one run, and lets `status` tell a run that goes on from one
whose supervisor was killed.
"""

from __future__ import annotations

import math
import os
import socket
import time
from dataclasses import dataclass

from launcher import processes, units
from launcher.files import replace
from launcher.runs.hints import command
from launcher.specs import Job, RunLayout, from_json, to_json

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
    job: Job | None = None
    """The batch job that it runs in."""

    @property
    def name(self) -> str:
        job = f" in job {self.job.job_id}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"


def beat(layout: RunLayout, *, attempt: int) -> None:
    """Say that this process supervises the run and is alive."""
    replace(layout.supervisor, to_json(_own(attempt)))


def leave(layout: RunLayout) -> None:
    """Say that nobody supervises the run any more; only takes back this process's own word."""
    found = read_supervisor(layout)
    if found is not None and _is_own(found):
        layout.supervisor.unlink(missing_ok=True)


def read_supervisor(layout: RunLayout) -> Supervisor | None:
    """Return the last supervisor that wrote, alive or not."""
    try:
        return from_json(Supervisor, layout.supervisor.read_bytes())
    except (OSError, ValueError):
        return None


def rival(layout: RunLayout) -> Supervisor | None:
    """Return the living supervisor that keeps this process from working on the run, if any.

    An earlier incarnation of the same batch job is none, however fresh its heartbeat: the scheduler
    has given it up, and the checkpoints of a newer attempt fence it off.
    """
    found = read_supervisor(layout)
    if found is None or _is_own(found) or not is_alive(found):
        return None
    job = Job.from_environ(os.environ)
    return None if job is not None and job.follows(found.job) else found


def refusal(found: Supervisor, layout: RunLayout) -> tuple[str, str]:
    """Return what to tell somebody who wants to supervise a run besides `found`, and a hint.

    On another host we see only its heartbeat: a supervisor that was killed there looks alive until
    that is old.
    """
    age_s = max(0.0, time.time() - found.heartbeat_at)
    what = f"run `{layout.run_id}` is already supervised by {found.name}"
    hint = f"watch it with `{command('status', layout)}`, end it with `{command('stop', layout)}`"
    if found.host == socket.gethostname():
        return what, hint
    wait_s = max(1, math.ceil(STALE_S - age_s))
    down = f"if {found.host} is down, repeat this in {wait_s} s, and the run is taken over"
    return f"{what}, as it said {units.duration(age_s)} ago", f"{down}; else {hint}"


def is_alive(found: Supervisor | None, *, now: float | None = None) -> bool:
    """Return whether that supervisor still works, as far as can be told from here."""
    if found is None:
        return False
    if found.host == socket.gethostname() and found.boot_id == processes.boot_id():
        return bool(found.process_started) and found.process_started == _started(found.pid)
    return (time.time() if now is None else now) - found.heartbeat_at < STALE_S


def _own(attempt: int) -> Supervisor:
    return Supervisor(
        pid=os.getpid(),
        host=socket.gethostname(),
        process_started=_started(os.getpid()),
        heartbeat_at=time.time(),
        attempt=attempt,
        boot_id=processes.boot_id(),
        job=Job.from_environ(os.environ),
    )


def _is_own(found: Supervisor) -> bool:
    # Hosts may share a kernel and number their processes alike: all four have to agree.
    own = _own(found.attempt)
    return (found.pid, found.host, found.process_started, found.boot_id) == (
        own.pid,
        own.host,
        own.process_started,
        own.boot_id,
    )


def _started(pid: int) -> str:
    process = processes.find(pid)
    return process.started if process else ""
