"""Asking for another start of the job that this process runs in."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.errors import PreflightError
from launcher.slurm.control import call, look, words
from launcher.slurm.jobs import attempts_of
from launcher.specs import Job, RunLayout

MOST_IN_VAIN = 3
"""Starts of one job in a row without a new checkpoint after which it is not asked for another."""


@dataclass(frozen=True, kw_only=True)
class Requeue:
    """Whether the job will be started again, and the sentence that says so."""

    granted: bool
    why: str


def requeue(job: Job, layout: RunLayout) -> Requeue:
    """Ask Slurm to start exactly this job, or task of an array, again.

    Not when Slurm is ending it already: a job that a person cancelled would come back to life, and
    one that was preempted or given up for its node is started again without our word.
    """
    in_vain = starts_in_vain(layout, job)
    if in_vain >= MOST_IN_VAIN:
        return _refused(
            f"{in_vain} starts of job {job.job_id} in a row brought no new checkpoint: a longer "
            "cluster.slurm.time=, or a smaller checkpoint.every_steps=, would"
        )
    try:
        found = next(iter(look(job.job_id)), None)
        if found is None or not _may_ask(found.state, found.reason):
            state = found.state if found else "unknown to Slurm"
            return _refused(f"job {job.job_id} is {state}: what comes next is decided already")
        done = call(["scontrol", "requeue", job.job_id])
    except PreflightError as error:
        return _refused(f"Slurm cannot be asked: {error.message}")
    if done.returncode != 0:
        return _refused(f"Slurm does not start job {job.job_id} again: {words(done)}")
    return Requeue(granted=True, why=f"Slurm starts job {job.job_id} again")


def starts_in_vain(layout: RunLayout, job: Job) -> int:
    """Return how many starts of this job, counted from its last, committed nothing new.

    One start of a job may be several attempts: what fails by itself is tried again within it.
    """
    in_vain: set[int] = set()
    for started, ended in reversed(list(attempts_of(layout, job))):
        start = started.job.restarts if started.job else 0
        if ended is None or (ended.committed_step or 0) > (started.resumes_step or 0):
            return len(in_vain - {start})
        in_vain.add(start)
    return len(in_vain)


def _may_ask(state: str, reason: str) -> bool:
    return state == "RUNNING" or (state == "COMPLETING" and reason == "TimeLimit")


def _refused(why: str) -> Requeue:
    return Requeue(granted=False, why=why)
