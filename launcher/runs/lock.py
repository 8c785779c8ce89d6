"""Which supervisor works on a run (`supervisor.json`), and asking it to stop (`stop.json`).

Only one supervisor may work on a run. `status` needs to know whether it is still alive.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from dataclasses import asdict, dataclass

from launcher import processes, units
from launcher.files import replace
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.runs.environment import user_name
from launcher.runs.records import read_object
from launcher.specs import Job, RunLayout, from_json, to_json

STALE_S = 30.0
"""A supervisor on another host counts as gone if its last heartbeat is older than this."""


@dataclass(frozen=True, kw_only=True)
class SupervisorRecord:
    """What a supervisor writes about itself at every heartbeat."""

    pid: int
    host: str
    process_started: str
    """Start time of the process as the kernel counts it, because process ids are reused."""
    heartbeat_at: float
    attempt: int
    boot_id: str = ""
    """The boot of the host, which also distinguishes hosts with the same name."""
    job: Job | None = None
    """The batch job that it runs in."""
    submits: bool = False
    """It only stages and submits a batch job, and does not compete with a supervisor."""

    @property
    def name(self) -> str:
        job = f" in job {self.job.job_id}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """A request to save a checkpoint and exit: `stop.json`, or a signal to the supervisor."""

    at: float
    by: str
    reason: str
    preempted: bool = False
    """The cluster takes the nodes back, so the run should be started again. Never in a file."""


def beat(layout: RunLayout, *, attempt: int, submits: bool = False) -> None:
    """Write that this process is alive and supervises the run; `attempt` is 0 before the first."""
    replace(layout.supervisor, to_json(_own(attempt, submits=submits)))


def leave(layout: RunLayout) -> None:
    """Delete the record of the supervisor if it is that of this process."""
    record = read_supervisor(layout)
    if record is not None and _is_own(record):
        layout.supervisor.unlink(missing_ok=True)


def read_supervisor(layout: RunLayout) -> SupervisorRecord | None:
    """Return the record of the last supervisor, alive or not."""
    try:
        return from_json(SupervisorRecord, layout.supervisor.read_bytes())
    except (OSError, ValueError):
        return None


def is_alive(record: SupervisorRecord | None, *, now: float | None = None) -> bool:
    """Return whether the supervisor still works, as far as this host can know."""
    if record is None:
        return False
    if record.host == socket.gethostname() and record.boot_id == processes.boot_id():
        return bool(record.process_started) and record.process_started == _started(record.pid)
    return (time.time() if now is None else now) - record.heartbeat_at < STALE_S


def rival(layout: RunLayout) -> SupervisorRecord | None:
    """Return the other living supervisor of the run, which this process must not compete with.

    An earlier start of our own batch job does not count, however new its heartbeat is: Slurm has
    ended it, and it cannot write checkpoints once a newer attempt exists.
    """
    record = read_supervisor(layout)
    if record is None or record.submits or _is_own(record) or not is_alive(record):
        return None
    job = Job.from_environ(os.environ)
    return None if job is not None and job.follows(record.job) else record


def refusal(
    record: SupervisorRecord, layout: RunLayout, commands: CommandLine = ANYWHERE
) -> tuple[str, str]:
    """Return message and hint of the error for a run that another supervisor works on.

    Of a supervisor on another host we see only heartbeats. If it was killed, it looks alive until
    its last heartbeat is old.
    """
    message = f"run `{layout.run_id}` already has a supervisor: {record.name}"
    status, stop = (commands.of_run(layout, verb) for verb in ("status", "stop"))
    hint = f"watch it with `{status}`, stop it with `{stop}`"
    if record.host == socket.gethostname():
        return message, hint
    age_s = max(0.0, time.time() - record.heartbeat_at)
    wait_s = max(1, math.ceil(STALE_S - age_s))
    down = f"if {record.host} is down, repeat the command in {wait_s} s to take the run over"
    return f"{message}, last heartbeat {units.duration(age_s)} ago", f"{down}; otherwise {hint}"


def request_stop(layout: RunLayout, *, reason: str = "stop was requested") -> StopRequest:
    """Ask the supervisor to save a checkpoint and exit; it reads this about once a second."""
    request = StopRequest(at=time.time(), by=f"{user_name()}@{socket.gethostname()}", reason=reason)
    replace(layout.stop, json.dumps(asdict(request)))
    return request


def read_stop(layout: RunLayout) -> StopRequest | None:
    """Return the stop request in the run folder, also one that a user wrote by hand."""
    request = read_object(layout.stop)
    if not request:
        return None
    at = request.get("at", 0.0)
    return StopRequest(
        at=float(at) if isinstance(at, int | float) else 0.0,
        by=str(request.get("by", "unknown")),
        reason=str(request.get("reason") or "stop"),
    )


def clear_stop(layout: RunLayout) -> None:
    """Delete an old stop request when the run is started again. Only its supervisor may do so."""
    layout.stop.unlink(missing_ok=True)


def _own(attempt: int, *, submits: bool = False) -> SupervisorRecord:
    return SupervisorRecord(
        pid=os.getpid(),
        host=socket.gethostname(),
        process_started=_started(os.getpid()),
        heartbeat_at=time.time(),
        attempt=attempt,
        boot_id=processes.boot_id(),
        job=Job.from_environ(os.environ),
        submits=submits,
    )


def _is_own(record: SupervisorRecord) -> bool:
    # Hosts may share a kernel and have equal process ids: all four must agree.
    own = _own(record.attempt)
    return (record.pid, record.host, record.process_started, record.boot_id) == (
        own.pid,
        own.host,
        own.process_started,
        own.boot_id,
    )


def _started(pid: int) -> str:
    process = processes.find(pid)
    return process.started if process else ""
