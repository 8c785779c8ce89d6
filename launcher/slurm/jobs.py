"""The jobs of a run: a file for each in the run folder, and what each job has done for the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.files import replace
from launcher.runs import events
from launcher.runs.records import attempts
from launcher.specs import Job, RunLayout, from_json, to_json


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One job of a run: finished, running or pending."""

    cluster: str
    job_id: str
    """`123`, `120_5`, or `120` for a whole array."""
    array: str = ""
    """The tasks of a whole array, as submitted."""
    log: str = ""
    """Log of the job's launcher; empty if the user submitted the job with sbatch."""


def note(layout: RunLayout, record: JobRecord) -> None:
    """Record that a job belongs to the run."""
    layout.jobs.mkdir(parents=True, exist_ok=True)
    replace(layout.jobs / f"{record.job_id}.json", to_json(record, indent=2))


def note_own(layout: RunLayout, job: Job) -> None:
    """Record the job of this process for the run, unless it is already recorded."""
    if not (layout.jobs / f"{job.job_id}.json").exists():
        note(layout, JobRecord(cluster=job.cluster, job_id=job.job_id))


def read(layout: RunLayout) -> list[JobRecord]:
    """Return the jobs of the run, oldest first."""
    records = []
    for path in layout.jobs.glob("[0-9]*.json"):
        try:
            records.append((path.stat().st_mtime_ns, from_json(JobRecord, path.read_bytes())))
        except (OSError, ValueError):
            continue  # being written
    return [record for _, record in sorted(records, key=lambda each: each[0])]


def run_id_of(job: Job, given: str, recipe: str) -> str:
    """Return the run of `job`, the same at each start of the job.

    Each array task has its own run. Jobs with the same `run_id` resume the same run, so that a
    chain of jobs can train longer than one.
    """
    if not given:
        return f"{recipe}-{job.job_id}"
    return f"{given}-{job.task}" if job.task else given


def attempts_of(
    layout: RunLayout, job: Job
) -> Iterator[tuple[events.AttemptStarted, events.AttemptEnded | None]]:
    """Yield the start and end of each attempt that this job made, oldest first."""
    for number in attempts(layout):
        log = events.read(layout.attempt(number).events)
        started = next((each for each in log if isinstance(each, events.AttemptStarted)), None)
        ended = next((each for each in log if isinstance(each, events.AttemptEnded)), None)
        if started is not None and job.is_same(started.job):
            yield started, ended


def resume_of(layout: RunLayout, job: Job, resume: str) -> str:
    """Return the effective `resume=` for this start of the job.

    A requeued job runs the same command, but `never` or a step is meant for its first start only.
    """
    if resume in ("auto", "required") or not any(attempts_of(layout, job)):
        return resume
    return "auto"
