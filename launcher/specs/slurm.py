"""Slurm's environment variables, the one table of them, and the job that they describe. Pure.

The variables of a rank are in `launcher.engines.table`, beside those of other engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from launcher.errors import ConfigError
from launcher.specs.hostlist import expand, split

PREFIX = "SLURM_"
JOB_ID = "SLURM_JOB_ID"
HOSTS = "SLURM_JOB_NODELIST"
CPUS_PER_NODE = "SLURM_JOB_CPUS_PER_NODE"
TASKS = "SLURM_NTASKS"
"""Set only if the job asked for tasks."""
TASKS_PER_NODE = "SLURM_TASKS_PER_NODE"
"""Always set; what the job asked for only if it asked for tasks."""
TASKS_ON_EACH_NODE = "SLURM_NTASKS_PER_NODE"
GPUS_PER_NODE = "SLURM_GPUS_PER_NODE"
GPUS_ON_NODE = "SLURM_GPUS_ON_NODE"
GPU_IDS = "SLURM_JOB_GPUS"
STEP_TASKS = "SLURM_STEP_NUM_TASKS"
STEP_HOSTS = "SLURM_STEP_NODELIST"
TASK = "SLURM_PROCID"
TASK_PID = "SLURM_TASK_PID"
TERMINAL = "SLURM_PTY_PORT"
"""Set in all tasks of `srun --pty`. Only the first task gets the terminal."""

OF_A_STEP = ("SLURM_", "PMI")
"""Variables that a step sets start with these."""
OF_A_STEP_ONLY = (
    "SLURM_STEP", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_TASK_PID",
    "SLURM_SRUN_", "SLURM_LAUNCH_", "SLURM_CPU_BIND", "SLURM_DISTRIBUTION", "SLURM_UMASK",
)  # fmt: skip
"""Those of a step that are not the job's; a batch script has them, too."""
REQUESTS = ("SLURM_", "SRUN_")
"""Variables that srun reads as options of a step start with these."""
NOT_REQUESTS = (
    "SLURM_JOB", "SLURM_CONF", "SLURM_CLUSTER", "SLURM_WORKING_CLUSTER", "SLURM_JWT",
    "SLURM_HET_SIZE",
)  # fmt: skip
"""Of these, the ones that srun needs to find the job."""
_HET_GROUP = "_HET_GROUP_"
FIRST_PART = f"{_HET_GROUP}0"
"""Suffix of the variables of the first part of a heterogeneous job, where the script runs."""

OF_JOBS_WITH_GPUS = ("SLURM_GPUS", "SLURM_JOB_GPUS")

_ARRAY_JOB_ID = "SLURM_ARRAY_JOB_ID"
_ARRAY_TASK_ID = "SLURM_ARRAY_TASK_ID"
_CLUSTER = "SLURM_CLUSTER_NAME"
_HET_SIZE = "SLURM_HET_SIZE"
_RESTARTS = "SLURM_RESTART_COUNT"


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

        In a heterogeneous job, `SLURM_JOB_ID` is the id of the first part, which represents all.
        """
        own = environ.get(JOB_ID, "")
        if not own:
            return None
        # For the last task of an array, SLURM_JOB_ID is the id of the whole array. A requeue by
        # that id would start all tasks again.
        array, task = environ.get(_ARRAY_JOB_ID), environ.get(_ARRAY_TASK_ID)
        restarts = environ.get(_RESTARTS, "")
        return cls(
            cluster=environ.get(_CLUSTER, ""),
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


@dataclass(frozen=True, kw_only=True)
class JobPart:
    """The variables of one part of a heterogeneous job, or of the whole of any other job."""

    environ: Mapping[str, str]
    suffix: str = ""

    def text(self, name: str) -> str:
        """Return the value of the variable `name` for this part, empty if it is not set."""
        return self.environ.get(name + self.suffix, "")

    def hosts(self) -> tuple[str, ...]:
        """Return the names of the hosts, in Slurm's order.

        Raises:
            ConfigError: the variable is invalid.
        """
        text = self.text(HOSTS)
        try:
            names = tuple(name for part in split(text) for name in expand(part))
        except ValueError as error:
            raise self.invalid(HOSTS, str(error)) from None
        if not all(names):
            raise self.invalid(HOSTS, "a name is empty")
        return names

    def invalid(self, name: str, reason: str) -> ConfigError:
        """Return the error for an invalid value of the variable `name`."""
        return ConfigError(
            f"cannot read `{name}{self.suffix}={self.text(name)}`: {reason}",
            hint="Slurm sets this variable inside a job: check whether a script changes it",
        )


def part_suffixes(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the suffix of the variables of each part of the job; its place is the het group."""
    size = environ.get(_HET_SIZE, "")
    if not size.isdecimal():
        return ("",)
    return tuple(f"{_HET_GROUP}{number}" for number in range(int(size)))


def require_allocation(environ: Mapping[str, str]) -> None:
    """Refuse to continue outside of a job.

    Raises:
        ConfigError: this process is not in a job.
    """
    if not environ.get(JOB_ID):
        raise ConfigError(
            "cluster=slurm: not inside a Slurm allocation",
            context=f"{JOB_ID} is not set",
            hint="run the launcher in a batch script, or inside `salloc -N2`",
        )
