"""Which run a job works on, and what it has done for it so far."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.runs import events
from launcher.runs.records import attempts
from launcher.specs import Job, RunLayout


def run_id_of(job: Job, given: str, recipe: str) -> str:
    """Return the run that `job` works on, the same at each of its starts.

    Every task of an array has a run of its own. Jobs that are given the same name go on with the
    same run: so a chain of jobs trains longer than one may.
    """
    if not given:
        return f"{recipe}-{job.job_id}"
    return f"{given}-{job.task}" if job.task else given


def attempts_of(
    layout: RunLayout, job: Job
) -> Iterator[tuple[events.AttemptStarted, events.AttemptEnded | None]]:
    """Yield how the attempts of the run that this job made started and ended, oldest first."""
    for number in attempts(layout):
        told = events.read(layout.attempt(number).events)
        started = next((each for each in told if isinstance(each, events.AttemptStarted)), None)
        ended = next((each for each in told if isinstance(each, events.AttemptEnded)), None)
        if started is not None and job.is_same(started.job):
            yield started, ended


def resume_of(layout: RunLayout, job: Job, resume: str) -> str:
    """Return what `resume=` means in this start of the job.

    A job that is started again runs the same command: `never` and a step in digits are about its
    first start, all others go on.
    """
    if resume in ("auto", "required") or not any(attempts_of(layout, job)):
        return resume
    return "auto"
