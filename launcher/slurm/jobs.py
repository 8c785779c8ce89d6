"""Which jobs belong to a run: one small file each in the run folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.files import replace
from launcher.runs import events
from launcher.runs.records import attempts
from launcher.specs import Job, RunLayout, from_json, to_json


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One job that works, worked or will work on a run."""

    cluster: str
    job_id: str
    """`123`, `120_5`, or `120` for a whole array."""
    array: str = ""
    """The tasks of a whole array, as they were asked for."""
    log: str = ""
    """Where the launcher of the job writes; empty when somebody else submitted it."""


def note(layout: RunLayout, record: JobRecord) -> None:
    """Write down that a job belongs to the run."""
    layout.jobs.mkdir(parents=True, exist_ok=True)
    replace(layout.jobs / f"{record.job_id}.json", to_json(record, indent=2))


def note_own(layout: RunLayout, job: Job) -> None:
    """Write down that the job this process runs in works on the run, unless it is known."""
    if not (layout.jobs / f"{job.job_id}.json").exists():
        note(layout, JobRecord(cluster=job.cluster, job_id=job.job_id))


def read(layout: RunLayout) -> list[JobRecord]:
    """Return the jobs of the run, oldest first."""
    found = []
    for path in layout.jobs.glob("[0-9]*.json"):
        try:
            found.append((path.stat().st_mtime_ns, from_json(JobRecord, path.read_bytes())))
        except (OSError, ValueError):
            continue  # being written
    return [record for _, record in sorted(found, key=lambda each: each[0])]


# Which run a job works on, and what it has done for it so far.
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
