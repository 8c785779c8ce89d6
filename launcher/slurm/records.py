"""Which jobs belong to a run: one small file each in the run folder."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.files import replace
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
