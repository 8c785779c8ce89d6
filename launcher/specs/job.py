"""The Slurm job of a process, as its environment describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Job:
    """One start of a job or array task. A requeue is the next start of the same job."""

    cluster: str
    """Name of the Slurm cluster. Job ids are unique within it."""
    job_id: str
    """`123`, or `120_5` for a task of an array."""
    restarts: int = 0
    """Number of requeues so far."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Job | None:
        """Return the job of a process with this environment, None outside of any job.

        In a heterogeneous job, `SLURM_JOB_ID` is the id of the first component, which represents
        all of them.
        """
        own = environ.get("SLURM_JOB_ID", "")
        if not own:
            return None
        # For the last task of an array, SLURM_JOB_ID is the id of the whole array. A requeue by
        # that id would start all tasks again.
        array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
        restarts = environ.get("SLURM_RESTART_COUNT", "")
        return cls(
            cluster=environ.get("SLURM_CLUSTER_NAME", ""),
            job_id=f"{array}_{task}" if array and task else own,
            restarts=int(restarts) if restarts.isdecimal() else 0,
        )

    @property
    def task(self) -> str:
        """Number of the array task; empty for other jobs."""
        return self.job_id.partition("_")[2]

    def is_same(self, other: Job | None) -> bool:
        """Return whether `other` is a start of the same job or array task."""
        return other is not None and (self.cluster, self.job_id) == (other.cluster, other.job_id)

    def follows(self, other: Job | None) -> bool:
        """Return whether `other` is an earlier start of this job. Then `other` is over.

        Slurm starts a job again only after it has given up the earlier start, even if the
        processes of that start lost their connection and still run.
        """
        return other is not None and self.is_same(other) and self.restarts > other.restarts
