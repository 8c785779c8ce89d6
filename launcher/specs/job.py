"""The batch job that a process runs in, as Slurm tells it in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Job:
    """One incarnation of one job or array task; a requeue makes the next incarnation of it."""

    cluster: str
    """Name of the Slurm cluster; job ids are unique within it."""
    job_id: str
    """As everybody names it: `123`, or `120_5` for a task of an array."""
    restarts: int = 0
    """How often it was requeued before."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Job | None:
        """Return the job that a process with this environment runs in, None outside of any.

        `SLURM_JOB_ID` of an array's last task is the id of the whole array: a requeue by that name
        would start all tasks again. In a heterogeneous job it is that of the first part, which
        stands for all.
        """
        own = environ.get("SLURM_JOB_ID", "")
        if not own:
            return None
        array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
        restarts = environ.get("SLURM_RESTART_COUNT", "")
        return cls(
            cluster=environ.get("SLURM_CLUSTER_NAME", ""),
            job_id=f"{array}_{task}" if array and task else own,
            restarts=int(restarts) if restarts.isdecimal() else 0,
        )

    @property
    def task(self) -> str:
        """Its number in an array, empty outside of one."""
        return self.job_id.partition("_")[2]

    def is_same(self, other: Job | None) -> bool:
        """Return whether `other` is an incarnation of the same job or array task."""
        return other is not None and (self.cluster, self.job_id) == (other.cluster, other.job_id)

    def follows(self, other: Job | None) -> bool:
        """Return whether `other` is an earlier incarnation of this job: then it is over.

        Slurm starts a job again only after it has given the earlier incarnation up, even where
        that one, cut off, has not noticed yet.
        """
        return other is not None and self.is_same(other) and self.restarts > other.restarts
