"""What became of a run by a batch job that is over, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.cli import typed
from launcher.runs import RunState
from launcher.slurm import JobInfo, JobRecord
from launcher.specs import RunLayout

Row = tuple[str, str]


def state_of(jobs: Sequence[JobInfo]) -> RunState | None:
    """Return the state of a run without any attempt, by its newest job or that one's tasks."""
    if all(job.state == "CANCELLED" for job in jobs):
        return RunState.STOPPED
    if any(job.task or job.state == "COMPLETED" for job in jobs):  # a task is a run of its own
        return None
    return RunState.FAILED


def advice(layout: RunLayout, record: JobRecord, job: JobInfo | None) -> tuple[Row, ...]:
    """Return why a job came to nothing, and the next command; None is a job Slurm has forgotten.

    Nothing for a job in which the launcher spoke: its log says more.
    """
    root = str(layout.path.parents[1])
    resume = f"`{typed.of_run('resume', layout.run_id, typed.storage_override(root))}`"
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
