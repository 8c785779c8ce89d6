"""`status`, `logs`, `why` and `stop`: verbs that need only a run folder, and Slurm for its jobs."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence

from launcher import failures, runs, slurm
from launcher.cli import batch, messages, printing
from launcher.cli.arguments import Invocation
from launcher.cli.batch import Jobs
from launcher.cli.context import command_line, run_folder
from launcher.cli.display.status import Ticker, in_one_line, text
from launcher.errors import ConfigError, PreflightError
from launcher.runs import LogFile, RunState, RunStatus
from launcher.runs.command_line import CommandLine
from launcher.slurm import JobInfo
from launcher.specs import RunLayout

_ACTIVE = (RunState.STAGING, RunState.STARTING, RunState.RUNNING, RunState.STOPPING)
_EVERY_S = 1.0
_QUEUE_EVERY_S = 5.0
"""While only the batch system knows more: a request is work for the whole cluster."""


def status(invocation: Invocation) -> int:
    """Print the status once, or with `--follow` until the run has ended."""
    layout, commands = run_folder(invocation), command_line(invocation)
    why = commands.of_run(layout, "why")
    now, jobs = _look(layout, commands)
    if invocation.has("json"):
        active = [dataclasses.asdict(job) for job in jobs.active]
        printing.raw(json.dumps({**dataclasses.asdict(now), "jobs": active}, indent=2))
        return 0
    if not invocation.has("follow"):
        printing.out(text(now, why=why, jobs=jobs.lines, advice=jobs.advice))
        return 0
    ticker = Ticker()
    while True:
        block = text(now, why=why, jobs=jobs.lines, advice=jobs.advice)
        ticker.show(block=block, line=in_one_line(now, jobs.lines))
        if now.state not in (*_ACTIVE, RunState.QUEUED):
            return 0
        time.sleep(_EVERY_S if now.supervisor_alive else _QUEUE_EVERY_S)
        now, jobs = _look(layout, commands)


def logs(invocation: Invocation) -> int:
    """Print the selected logs; with several, each line starts with its node and rank."""
    layout, following = run_folder(invocation), invocation.has("follow")
    if not _log_files(layout, invocation) and not following:
        _require_logs(layout, invocation)
    chosen: list[LogFile] = []

    def choose() -> list[LogFile]:
        chosen[:] = _log_files(layout, invocation)
        return chosen

    lines = runs.follow(
        choose,
        running=lambda: following and runs.read_status(layout).state in _ACTIVE,
        tail=invocation.number("tail"),
    )
    for log, line in lines:
        # All logs of the attempt decide, so that the prefix does not appear halfway.
        several = len(invocation.numbers("rank")) != 1 and len(chosen) != 1
        printing.raw(f"{log.prefix if several else ''}{line}", flush=following)
    return 0


def why(invocation: Invocation) -> int:
    """Print the failure report of a run."""
    printing.out(failures.why(run_folder(invocation), commands=command_line(invocation)))
    return 0


def stop(invocation: Invocation) -> int:
    """Write a stop request into the run folder; the supervisor reads it about once a second."""
    layout, commands = run_folder(invocation), command_line(invocation)
    now = runs.read_status(layout)
    if not now.supervisor_alive:
        jobs = batch.look(layout, commands)
        _cancel(layout, jobs.active)
        if not jobs.active:
            printing.out(f"{layout.run_id} is not running: it is {jobs.refine(now).state}")
        return 0
    runs.request_stop(layout)
    printing.out(_requested(f"{layout.run_id} ({now.supervisor})", now.state))
    try:
        _cancel(layout, [job for job in batch.look(layout, commands).active if job.waiting])
    except PreflightError as error:  # the run itself needs only its folder
        messages.say(f"warning: cannot look for waiting jobs of this run: {error.message}")
    if now.state is RunState.STAGING and not now.attempt:
        return 0  # nothing of the run will remain
    printing.out(f"watch:   {commands.of_run(layout, 'status', options=['--follow'])}")
    printing.out(f"resume:  {commands.of_run(layout, 'resume')}")
    return 0


def _look(layout: RunLayout, commands: CommandLine) -> tuple[RunStatus, Jobs]:
    """Return the status and the batch jobs of a run.

    Slurm is asked only while the run has no supervisor: then it alone knows what comes next.
    """
    now = runs.read_status(layout)
    if now.supervisor_alive or now.state is RunState.DONE:
        return now, Jobs()
    try:
        jobs = batch.look(layout, commands)
    except PreflightError as error:  # the rest is in the folder
        return now, Jobs(lines=(error.message,))
    return jobs.refine(now), jobs


def _log_files(layout: RunLayout, invocation: Invocation) -> list[LogFile]:
    return runs.log_files(
        layout,
        attempt=invocation.number("attempt") or 0,
        nodes=invocation.numbers("node"),
        ranks=invocation.numbers("rank"),
        agents=invocation.has("agents"),
    )


def _require_logs(layout: RunLayout, invocation: Invocation) -> None:
    existing = runs.log_files(layout, attempt=invocation.number("attempt") or 0)
    if not existing:
        _require_attempt(layout, invocation.number("attempt") or 0)
        messages.say(f"{layout.run_id} has no logs yet")
        return
    ranks = ", ".join(str(log.rank) for log in existing)
    raise ConfigError(f"{layout.run_id} has no such log", hint=f"it has logs of ranks {ranks}")


def _require_attempt(layout: RunLayout, number: int) -> None:
    existing = runs.attempts(layout)
    if number and existing and number not in existing:
        numbers = ", ".join(map(str, existing))
        raise ConfigError(
            f"{layout.run_id} has no attempt {number}", hint=f"it has the attempts {numbers}"
        )


def _requested(run: str, state: RunState) -> str:
    does = "has not started training, and exits"
    if state is not RunState.STAGING:
        does = "saves a checkpoint and exits"
    return f"requested a stop of {run}: it {does}"


def _cancel(layout: RunLayout, jobs: Sequence[JobInfo]) -> None:
    """Cancel batch jobs that wait, or that run without a supervisor.

    The tasks of an array are runs of their own. Those with a supervisor get a stop request.
    """
    for job in jobs:
        task = RunLayout(layout.path.with_name(f"{layout.run_id}-{job.task}")) if job.task else None
        if task and not job.waiting and runs.is_alive(runs.read_supervisor(task)):
            runs.request_stop(task)
            printing.out(_requested(task.run_id, runs.read_status(task).state))
        else:
            slurm.cancel(job.job_id)
            printing.out(f"cancelled {job}")
