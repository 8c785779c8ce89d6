"""Batch jobs as people see them: handed in, waiting, running, over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher import launch, runs, slurm
from launcher.cli import failure, typed
from launcher.cli.display import RunDisplay, open_surface
from launcher.cli.display.standing import line, text
from launcher.cli.display.ticker import Ticker
from launcher.config import LaunchConfig
from launcher.errors import ConfigError, Interrupted, PreflightError, SavedForRequeue, TrainingError
from launcher.runs import RunState
from launcher.runs.logs import last_lines
from launcher.slurm import JobInfo, Submitted
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


def submit(chosen: LaunchConfig) -> HandedIn:
    """Hand a job in and say what to type next; with `cluster.wait` follow it to its end."""
    if chosen.cluster.wait and chosen.cluster.slurm.array:
        raise ConfigError(
            "cluster.wait=true follows one run, and each task of an array is a run of its own",
            hint="leave cluster.wait away; `status RUN` shows each task's",
        )
    surface = open_surface()
    display = RunDisplay(surface)
    try:
        done = launch.submit(chosen, progress=display)
    finally:
        display.close()
    if not isinstance(done, Submitted):
        surface.say(f"{done.run_id} is done already; resume=never would start it over", "note")
        return HandedIn(exit_code=done.exit_code, run_id=done.run_id, job_id="")
    layout = RunLayout.of(chosen.storage.root, done.run_id)
    where = typed.storage_override(chosen.storage.root)
    array = f", tasks {done.record.array}" if done.record.array else ""
    for name, said in (
        ("run", done.run_id),
        ("job", f"{done.record.job_id}{array}"),
        ("script", str(done.script)),
        ("log", done.record.log),
        ("watch", typed.of_run("status", done.run_id, where)),
        ("end", typed.of_run("stop", done.run_id, where)),
    ):
        surface.say(f"{name:<12}{said}", "bold" if name in ("watch", "end") else "")
    code = _follow(done, layout) if chosen.cluster.wait else 0
    return HandedIn(exit_code=code, run_id=done.run_id, job_id=done.record.job_id)


def jobs_of(layout: RunLayout) -> tuple[JobInfo, ...]:
    """Return the jobs of the run that are not over, as Slurm sees them.

    Raises:
        PreflightError: Slurm's commands are not here, or do not answer.
    """
    return look(layout)[0]


def look(layout: RunLayout) -> tuple[tuple[JobInfo, ...], tuple[str, ...]]:
    """Return the jobs of the run that are not over, and in words how they are.

    When all are over, the words tell how the newest one ended, and where its log is.

    Raises:
        PreflightError: Slurm's commands are not here, or do not answer.
    """
    records = slurm.read(layout)[-_NEWEST:]
    jobs = [(each, info) for each in records for info in slurm.look(each.job_id)]
    going_on = tuple(info for _, info in jobs if not info.over)
    if going_on or not jobs:
        return going_on, tuple(str(info) for info in going_on)
    record, info = jobs[-1]
    return (), (f"{info}, {record.log}" if record.log else str(info),)


def _follow(submitted: Submitted, layout: RunLayout) -> int:
    ticker = Ticker()
    said, info = "", None
    try:
        for info in slurm.follow(submitted.record.job_id):
            if str(info) != said:
                said = str(info)
                ticker.say(said)
            if not info.waiting:
                status = runs.read_status(layout)
                ticker.show(block=text(status), line=line(status))
    except KeyboardInterrupt:
        failure.say(f"job {submitted.record.job_id} goes on without being watched")
        raise
    code = _exit_code(info, layout)
    if code:
        ticker.say(f"{'log':<12}{submitted.record.log}")
        ticker.say(_last_words(layout, Path(submitted.record.log)))
    return code


def _last_words(layout: RunLayout, log: Path) -> str:
    """Return what broke in the run; of a job that came to no run, the end of its log."""
    if runs.read_status(layout).state is RunState.FAILED:
        return runs.why(layout)
    return "\n".join(f"  {each}" for each in last_lines(log, _LAST_WORDS))


def _exit_code(info: JobInfo | None, layout: RunLayout) -> int:
    """The launcher's own exit code is the job's, since it takes the place of the batch shell."""
    if info is None:  # forgotten between two looks: the run folder has not
        ended = [
            each for each in runs.events.history(layout) if isinstance(each, runs.events.RunEnded)
        ]
        return ended[-1].exit_code if ended else PreflightError.exit_code
    return info.exit_code or _BY_STATE.get(info.state, TrainingError.exit_code)
