"""Which steps it takes to reach nodes of a Slurm job, and the command line of each."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from launcher.errors import PreflightError
from launcher.specs import Node

__all__ = ["OF_A_STEP", "Step", "job_variables", "srun_variables", "steps"]

OF_A_STEP = ("SLURM_", "PMI")
"""What a step sets begins with these. Commands get the job's own variables instead."""

_STEP_ONLY = (
    "SLURM_STEP", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_TASK_PID",
    "SLURM_SRUN_", "SLURM_LAUNCH_", "SLURM_CPU_BIND", "SLURM_DISTRIBUTION", "SLURM_UMASK",
)  # fmt: skip
"""Among ours they are there when the launcher itself was started by srun or by a batch script."""
_FOR_SRUN = ("SLURM_CONF", "SLURM_CLUSTER", "SLURM_WORKING_CLUSTER", "SLURM_JWT", "SLURM_HET_SIZE")
_FOR_SRUN_PREFIX = "SLURM_JOB"
_GPUS_OF_THE_JOB = ("SLURM_GPUS", "SLURM_JOB_GPUS")
_WITHIN_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """Nodes that one srun can reach: Slurm takes one number of GPUs, and one part of the job."""

    nodes: tuple[Node, ...]
    gpus: int = 0
    """Per node; 0 leaves it to Slurm."""
    het_group: str = ""

    def argv(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return what runs `words` once on each node."""
        count = len(self.nodes)
        return (
            "srun",
            f"--nodes={count}",
            f"--ntasks={count}",
            "--ntasks-per-node=1",
            f"--nodelist={','.join(node.name for node in self.nodes)}",
            *((f"--het-group={self.het_group}",) if self.het_group else ()),
            *self._gpu_options(),
            "--job-name=launcher",
            "--overlap",  # the job is ours, and mpirun starts steps of its own
            "--export=ALL",  # whatever sbatch --export= said
            "--chdir=/",
            "--cpu-bind=none",
            "--mpi=none",
            # One task more or less is for the supervisor to judge.
            "--kill-on-bad-exit=0",
            "--no-kill",
            "--wait=0",
            *words,
        )

    def _gpu_options(self) -> tuple[str, ...]:
        # Left to itself, a step of a job that asked for a total or for GPUs per task gets one GPU
        # on all nodes but one. For a single node only the total works, however the job asked.
        if not self.gpus:
            return ()
        name = "gpus" if len(self.nodes) == 1 else "gpus-per-node"
        return (f"--{name}={self.gpus}",)


def steps(nodes: Iterable[Node], environ: Mapping[str, str]) -> list[Step]:
    """Return the fewest steps that reach all `nodes`.

    Raises:
        PreflightError: we are not in a job of Slurm's, or its commands are not here.
    """
    if shutil.which("srun") is None:
        raise PreflightError(
            "there is no `srun` on this machine",
            hint="load Slurm's commands, or use cluster=hostfile",
        )
    if not environ.get("SLURM_JOB_ID"):
        raise PreflightError(
            "this is not inside an allocation of Slurm: SLURM_JOB_ID is not set",
            hint="call the launcher in a batch script, or inside `salloc -N2`",
        )
    tells_gpus = any(name.startswith(_GPUS_OF_THE_JOB) for name in environ)
    groups = _het_groups(environ)
    alike: dict[tuple[int, str], list[Node]] = {}
    for node in nodes:
        gpus = len(node.gpus) if tells_gpus else 0
        alike.setdefault((gpus, groups.get(node.name, "")), []).append(node)
    return [
        Step(nodes=tuple(members), gpus=gpus, het_group=group)
        for (gpus, group), members in alike.items()
    ]


def _het_groups(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part that each node of a heterogeneous job belongs to."""
    groups = {}
    for number in range(int(environ.get("SLURM_HET_SIZE") or 0)):
        listed = subprocess.run(
            ("scontrol", "show", "hostnames", environ[f"SLURM_JOB_NODELIST_HET_GROUP_{number}"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=True,
        )
        groups.update(dict.fromkeys(listed.stdout.split(), str(number)))
    return groups


def job_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the job, rather than a step of it, has told this process."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith("SLURM_") and not name.startswith(_STEP_ONLY)
    }


def srun_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of srun itself.

    What the job was asked for, srun would take for wishes about our step: tasks per node, cores
    and GPUs per task, exclusive use.
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(("SLURM_", "SRUN_"))
        or name.startswith((*_FOR_SRUN, _FOR_SRUN_PREFIX))
    }
