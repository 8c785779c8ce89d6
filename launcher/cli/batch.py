"""Batch jobs as people see them: handed in, waiting, running, over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import failures, launch, runs, slurm
from launcher.cli import failure
from launcher.cli.display import RunDisplay, open_surface
from launcher.cli.display.status import in_one_line, text
from launcher.cli.display.ticker import Ticker
from launcher.config import LaunchConfig
from launcher.errors import ConfigError, Interrupted, PreflightError, SavedForRequeue, TrainingError
from launcher.runs import RunState, RunStatus
from launcher.runs.command_line import CommandLine
from launcher.runs.logs import last_lines
from launcher.runs.records import newest_attempt
from launcher.slurm import JobInfo, JobRecord, Submitted
from launcher.specs import RunLayout

_LAST_WORDS = 12
"""Lines of a failed job's log."""
_NEWEST = 4
"""So many of a run's jobs are asked for: older ones are over."""
_BY_STATE = {
    "COMPLETED": 0,
    "CANCELLED": Interrupted.exit_code,
    "PREEMPTED": SavedForRequeue.exit_code,
    "TIMEOUT": SavedForRequeue.exit_code,
}


@dataclass(frozen=True, kw_only=True)
class HandedIn:
    """What came of handing a job in."""

    exit_code: int
    run_id: str
    job_id: str
    """Empty when the run was done already."""


def submit(chosen: LaunchConfig, commands: CommandLine) -> HandedIn:
    """Hand a job in and say what to type next; with `cluster.wait` follow it to its end."""
    if chosen.cluster.wait and chosen.cluster.slurm.array:
        raise ConfigError(
            "cluster.wait=true follows one run, and each task of an array is a run of its own",
            hint="leave cluster.wait away; `status RUN` shows each task's",
        )
    surface = open_surface()
    display = RunDisplay(surface)
    try:
        done = launch.submit(chosen, progress=display, commands=commands)
    finally:
        display.close()
    if not isinstance(done, Submitted):
        surface.say(f"{done.run_id} is done already; resume=never would start it over", "note")
        return HandedIn(exit_code=done.exit_code, run_id=done.run_id, job_id="")
    layout = RunLayout.of(chosen.storage.root, done.run_id)
    array = f", tasks {done.record.array}" if done.record.array else ""
    for name, said in (
        ("run", done.run_id),
        ("job", f"{done.record.job_id}{array}"),
        ("script", str(done.script)),
        ("log", done.record.log),
        ("watch", commands.of_run(layout, "status")),
        ("end", commands.of_run(layout, "stop")),
    ):
        surface.say(f"{name:<12}{said}", "bold" if name in ("watch", "end") else "")
    code = _follow(done, layout, commands) if chosen.cluster.wait else 0
    return HandedIn(exit_code=code, run_id=done.run_id, job_id=done.record.job_id)


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """How the jobs of a run are."""

    going_on: tuple[JobInfo, ...] = ()
    told: tuple[str, ...] = ()
    """In words; when all are over, how the newest one ended, and where its log is."""
    advice: tuple[Row, ...] = ()
    """Why the newest one came to nothing and what to do, by name."""
    state: RunState | None = None
    """What the run is if no attempt tells: the folder cannot know how its job ended."""

    def refine(self, status: RunStatus) -> RunStatus:
        """Return what the folder says of the run, with what only the batch system knows."""
        if any(job.waiting for job in self.going_on):
            return replace(status, state=RunState.QUEUED)
        if self.state and status.state is RunState.STAGING:
            return replace(status, state=self.state)
        return status


def look(layout: RunLayout, commands: CommandLine) -> Jobs:
    """Return how the jobs of the run are, as Slurm sees them.

    Raises:
        PreflightError: Slurm's commands are not here, or do not answer.
    """
    records = slurm.read(layout)[-_NEWEST:]
    seen = [(each, slurm.look(each.job_id)) for each in records]
    going_on = tuple(info for _, infos in seen for info in infos if not info.over)
    if going_on or not seen:
        return Jobs(going_on=going_on, told=tuple(str(info) for info in going_on))
    return _ended(layout, *seen[-1], commands)


def _ended(
    layout: RunLayout, record: JobRecord, infos: tuple[JobInfo, ...], commands: CommandLine
) -> Jobs:
    log = log_of(record)
    if infos:
        return Jobs(
            told=(f"{infos[-1]}, {log}" if log else str(infos[-1]),),
            advice=advice(layout, record, infos[-1], commands),
            state=state_of(infos),
        )
    if record.array or newest_attempt(layout):  # forgotten, but the folder tells
        return Jobs()
    words = f"job {record.job_id}: over, Slurm has forgotten how it ended"
    return Jobs(
        told=(f"{words}, {log}" if log else words,),
        advice=advice(layout, record, None, commands),
        state=RunState.LOST,
    )


def _follow(submitted: Submitted, layout: RunLayout, commands: CommandLine) -> int:
    ticker = Ticker()
    record, said, info = submitted.record, "", None
    try:
        for info in slurm.follow(record.job_id):
            if str(info) != said:
                said = str(info)
                ticker.say(said)
            if not info.waiting:
                jobs = Jobs(going_on=(info,))
                if info.over:
                    jobs = _ended(layout, record, (info,), commands)
                status = jobs.refine(runs.read_status(layout))
                why = commands.of_run(layout, "why")
                ticker.show(block=text(status, why=why), line=in_one_line(status))
    except KeyboardInterrupt:
        failure.say(f"job {record.job_id} goes on without being watched")
        raise
    code = _exit_code(info, layout)
    for name, value in advice(layout, record, info, commands) if code else ():
        ticker.say(f"{name:<12}{value}")
    if code and log_of(record):
        ticker.say(f"{'log':<12}{record.log}")
        ticker.say(_last_words(layout, Path(record.log), commands))
    return code


def _last_words(layout: RunLayout, log: Path, commands: CommandLine) -> str:
    """Return what broke in the run; of a job that came to no run, the end of its log."""
    if runs.read_status(layout).state is RunState.FAILED:
        return failures.why(layout, commands=commands)
    return "\n".join(f"  {each}" for each in last_lines(log, _LAST_WORDS))


def _exit_code(info: JobInfo | None, layout: RunLayout) -> int:
    """The launcher's own exit code is the job's, since it takes the place of the batch shell."""
    if info is None:  # forgotten between two looks: the run folder has not
        ended = [
            each for each in runs.events.history(layout) if isinstance(each, runs.events.RunEnded)
        ]
        return ended[-1].exit_code if ended else PreflightError.exit_code
    return info.exit_code or _BY_STATE.get(info.state, TrainingError.exit_code)


# What became of a run by a batch job that is over, and what to do next.
Row = tuple[str, str]


def state_of(jobs: Sequence[JobInfo]) -> RunState | None:
    """Return the state of a run without any attempt, by its newest job or that one's tasks."""
    if all(job.state == "CANCELLED" for job in jobs):
        return RunState.STOPPED
    if any(job.task or job.state == "COMPLETED" for job in jobs):  # a task is a run of its own
        return None
    return RunState.FAILED


def advice(
    layout: RunLayout, record: JobRecord, job: JobInfo | None, commands: CommandLine
) -> tuple[Row, ...]:
    """Return why a job came to nothing, and the next command; None is a job Slurm has forgotten.

    Nothing for a job in which the launcher spoke: its log says more.
    """
    root = layout.path.parents[1]
    resume = f"`{commands.of_run(layout, 'resume')}`"
    again = ("next", f"{resume} submits it again")
    if record.array or (job and job.state == "COMPLETED"):
        return ()
    if job and job.state == "CANCELLED":
        return (again,)
    if not record.log or log_of(record) or (job and job.exit_code):
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


def log_of(record: JobRecord) -> str:
    """Return the job's log, empty when there is none. That of an array is a pattern."""
    return record.log if record.array or (record.log and Path(record.log).exists()) else ""
