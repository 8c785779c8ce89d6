"""Batch jobs as the user sees them: submitted, waiting, running, over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import failures, launch, runs, slurm
from launcher.cli import messages
from launcher.cli.display import RunDisplay, open_surface
from launcher.cli.display.status import Ticker, in_one_line, text
from launcher.config import LaunchConfig
from launcher.errors import ConfigError, Interrupted, PreflightError, SavedForRequeue, TrainingError
from launcher.runs import RunState, RunStatus
from launcher.runs.command_line import CommandLine
from launcher.runs.logs import last_lines
from launcher.slurm import JobInfo, JobRecord, Submitted
from launcher.specs import RunLayout

Advice = tuple[str, str]
"""A name and a sentence."""

_LOG_LINES = 12
"""Lines to show from the end of the log of a failed job."""
_NEWEST = 4
"""Slurm is asked about so many of the jobs of a run: older ones are over."""
_EXIT_CODES = {
    "COMPLETED": 0,
    "CANCELLED": Interrupted.exit_code,
    "PREEMPTED": SavedForRequeue.exit_code,
    "TIMEOUT": SavedForRequeue.exit_code,
}


@dataclass(frozen=True, kw_only=True)
class SubmitResult:
    """What `submit` returns."""

    exit_code: int
    run_id: str
    job_id: str
    """Empty if the run was already done."""


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The batch jobs of a run."""

    active: tuple[JobInfo, ...] = ()
    """Those that wait or run."""
    lines: tuple[str, ...] = ()
    """One for each active job. If all are over: how the newest ended, and its log."""
    advice: tuple[Advice, ...] = ()
    """Why the newest job ended without a result, and what to do."""
    state: RunState | None = None
    """The state of a run without any attempt, as its jobs show it."""

    def refine(self, status: RunStatus) -> RunStatus:
        """Add to a status what only the batch system knows."""
        if any(job.waiting for job in self.active):
            return replace(status, state=RunState.QUEUED)
        if self.state and status.state is RunState.STAGING:
            return replace(status, state=self.state)
        return status


def submit(loaded: LaunchConfig, commands: CommandLine) -> SubmitResult:
    """Submit a job and print the next commands; with `cluster.wait` follow it to its end."""
    if loaded.cluster.wait and loaded.cluster.slurm.array:
        raise ConfigError(
            "cluster.wait=true follows one run, but each task of an array is a run of its own",
            hint="omit cluster.wait, and use `status RUN` for each task",
        )
    surface = open_surface()
    display = RunDisplay(surface)
    try:
        submitted = launch.submit(loaded, progress=display, commands=commands)
    finally:
        display.close()
    run_id = submitted.run_id
    if not isinstance(submitted, Submitted):
        surface.say(f"{run_id} is already done; resume=never starts it over", "note")
        return SubmitResult(exit_code=submitted.exit_code, run_id=run_id, job_id="")
    layout, record = RunLayout.of(loaded.storage.root, run_id), submitted.record
    array = f", tasks {record.array}" if record.array else ""
    for name, sentence, style in (
        ("run", run_id, ""),
        ("job", f"{record.job_id}{array}", ""),
        ("script", str(submitted.script), ""),
        ("log", record.log, ""),
        ("watch", commands.of_run(layout, "status"), "bold"),
        ("stop", commands.of_run(layout, "stop"), "bold"),
    ):
        surface.say(f"{name:<12}{sentence}", style)
    code = _follow(record, layout, commands) if loaded.cluster.wait else 0
    return SubmitResult(exit_code=code, run_id=run_id, job_id=record.job_id)


def look(layout: RunLayout, commands: CommandLine) -> Jobs:
    """Return the jobs of a run as Slurm sees them.

    Raises:
        PreflightError: Slurm's commands are missing, or do not answer.
    """
    records = slurm.read(layout)[-_NEWEST:]
    jobs = [(each, slurm.look(each.job_id)) for each in records]
    active = tuple(info for _, infos in jobs for info in infos if not info.over)
    if active or not jobs:
        return Jobs(active=active, lines=tuple(str(info) for info in active))
    return _ended(layout, *jobs[-1], commands)


def advice(
    layout: RunLayout, record: JobRecord, job: JobInfo | None, commands: CommandLine
) -> tuple[Advice, ...]:
    """Return why a job ended without a result, and what to do. Slurm has forgotten a job of None.

    Empty if the launcher ran in the job: then its log says more.
    """
    root = layout.path.parents[1]
    resume = f"`{commands.of_run(layout, 'resume')}`"
    again = ("next", f"{resume} submits it again")
    if record.array or (job and job.state == "COMPLETED"):
        return ()
    if job and job.state == "CANCELLED":
        return (again,)
    if not record.log or _log_of(record) or (job and job.exit_code):
        return ()
    cause = "the job ended before the launcher started in it"
    if job and job.state == "FAILED":
        return (
            ("cause", f"{cause}; its nodes could not write the log {record.log}:"),
            ("", f"do they see storage.root={root}?"),
            ("next", "submit it with storage.root= on storage that the nodes see;"),
            ("", f"if they see this one, {resume} submits it again"),
        )
    return (("cause", cause), again)


def _ended(
    layout: RunLayout, record: JobRecord, infos: tuple[JobInfo, ...], commands: CommandLine
) -> Jobs:
    """Return the jobs of a run whose newest one is over; without `infos` Slurm has forgotten it."""
    newest = infos[-1] if infos else None
    if newest is None and (record.array or runs.newest_attempt(layout)):
        return Jobs()  # the run folder says how it ended
    ended = str(newest or f"job {record.job_id}: over, Slurm no longer knows how it ended")
    log = _log_of(record)
    return Jobs(
        lines=(f"{ended}, {log}" if log else ended,),
        advice=advice(layout, record, newest, commands),
        state=_state(infos) if infos else RunState.LOST,
    )


def _follow(record: JobRecord, layout: RunLayout, commands: CommandLine) -> int:
    ticker = Ticker()
    why = commands.of_run(layout, "why")
    shown, info = "", None
    try:
        for info in slurm.follow(record.job_id):
            if str(info) != shown:
                shown = str(info)
                ticker.say(shown)
            if not info.waiting:
                jobs = Jobs(active=(info,))
                if info.over:
                    jobs = _ended(layout, record, (info,), commands)
                status = jobs.refine(runs.read_status(layout))
                ticker.show(block=text(status, why=why), line=in_one_line(status))
    except KeyboardInterrupt:
        messages.say(f"job {record.job_id} continues in the background")
        raise
    code = _exit_code(info, layout)
    if code:
        for line in _failure(layout, record, info, commands):
            ticker.say(line)
    return code


def _failure(
    layout: RunLayout, record: JobRecord, info: JobInfo | None, commands: CommandLine
) -> Iterator[str]:
    """Yield what to do, and the failure report, or the end of the job's log if no run failed."""
    for name, sentence in advice(layout, record, info, commands):
        yield f"{name:<12}{sentence}"
    if not _log_of(record):
        return
    yield f"{'log':<12}{record.log}"
    if runs.read_status(layout).state is RunState.FAILED:
        yield failures.why(layout, commands=commands)
    else:
        yield "\n".join(f"  {each}" for each in last_lines(Path(record.log), _LOG_LINES))


def _exit_code(info: JobInfo | None, layout: RunLayout) -> int:
    """Return the exit code of the launcher in the job, which is that of the job."""
    if info is None:  # Slurm forgot the job between two requests
        ended = [
            each for each in runs.events.history(layout) if isinstance(each, runs.events.RunEnded)
        ]
        return ended[-1].exit_code if ended else PreflightError.exit_code
    return info.exit_code or _EXIT_CODES.get(info.state, TrainingError.exit_code)


def _state(jobs: Sequence[JobInfo]) -> RunState | None:
    """Return the state of a run without any attempt, by its newest job or the tasks of that."""
    if all(job.state == "CANCELLED" for job in jobs):
        return RunState.STOPPED
    if any(job.task or job.state == "COMPLETED" for job in jobs):  # a task is a run of its own
        return None
    return RunState.FAILED


def _log_of(record: JobRecord) -> str:
    """Return the log of a job, empty if it does not exist. That of an array is a pattern."""
    return record.log if record.array or (record.log and Path(record.log).exists()) else ""
