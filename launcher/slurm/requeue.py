"""Requeues the job of this process."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.errors import PreflightError
from launcher.slurm.control import call, look, words
from launcher.slurm.jobs import attempts_of
from launcher.specs import Job, RunLayout

MAX_IN_VAIN = 3
"""Starts in a row without a new checkpoint, after which the job is not requeued again."""


@dataclass(frozen=True, kw_only=True)
class Requeue:
    """Whether Slurm will start the job again, and a sentence that says so."""

    granted: bool
    why: str


def requeue(job: Job, layout: RunLayout) -> Requeue:
    """Requeue exactly this job or array task.

    Not if Slurm is already ending it: a job that the user cancelled must not start again, and Slurm
    requeues by itself a job that was preempted or lost its node.
    """
    in_vain = starts_in_vain(layout, job)
    if in_vain >= MAX_IN_VAIN:
        return _refused(
            f"{in_vain} starts of job {job.job_id} in a row made no new checkpoint: increase "
            "cluster.slurm.time=, or decrease checkpoint.every_steps="
        )
    try:
        info = next(iter(look(job.job_id)), None)
        if info is None or not _may_requeue(info.state, info.reason):
            state = info.state if info else "unknown to Slurm"
            return _refused(f"job {job.job_id} is {state}, so it is not requeued")
        done = call(["scontrol", "requeue", job.job_id])
    except PreflightError as error:
        return _refused(f"cannot requeue job {job.job_id}: {error.message}")
    if done.returncode != 0:
        return _refused(f"Slurm refuses to requeue job {job.job_id}: {words(done)}")
    return Requeue(granted=True, why=f"Slurm requeues job {job.job_id}")


def starts_in_vain(layout: RunLayout, job: Job) -> int:
    """Return how many of the last starts of this job made no new checkpoint.

    One start of a job may be several attempts: the supervisor restarts a failed one.
    """
    in_vain: set[int] = set()
    for started, ended in reversed(list(attempts_of(layout, job))):
        start = started.job.restarts if started.job else 0
        if ended is None or (ended.committed_step or 0) > (started.resumes_step or 0):
            return len(in_vain - {start})
        in_vain.add(start)
    return len(in_vain)


def _may_requeue(state: str, reason: str) -> bool:
    return state == "RUNNING" or (state == "COMPLETING" and reason == "TimeLimit")


def _refused(why: str) -> Requeue:
    return Requeue(granted=False, why=why)
