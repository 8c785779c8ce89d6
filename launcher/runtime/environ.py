"""Who am I: what the environment variables of this process say about its rank and its run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.engines.table import BACKENDS, VARIABLES, Variables
from launcher.errors import ConfigError
from launcher.specs.cluster import read_counts

__all__ = [
    "LaunchEnviron",
    "RankEnviron",
    "node_variables",
    "slots_of",
    "torchrun_variables",
]


@dataclass(frozen=True, kw_only=True)
class RankEnviron:
    """The place of one rank among the others."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    set_by: str
    """The launcher whose variables were read; empty for a program that was started alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ConfigError(
                f"invalid rank {self.rank}: expected 0 to {self.world_size - 1}",
                hint=f"check the variables that the launcher (`{self.set_by}`) sets for its ranks",
            )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> RankEnviron:
        """Read the place from `environ`; a program started alone is rank 0 of 1.

        Raises:
            ConfigError: a variable is not a number, or the numbers contradict each other.
            UnknownNameError: `LAUNCHER_BACKEND` is not a known backend.
        """
        backend = environ.get("LAUNCHER_BACKEND")
        for variables in BACKENDS[backend].environ if backend else VARIABLES.values():
            if _present(variables, environ) and not _is_slurms(variables, environ):
                return cls._from_variables(variables, environ)
        return cls(rank=0, world_size=1, local_rank=0, local_world_size=1, node_rank=0, set_by="")

    @classmethod
    def _from_variables(cls, variables: Variables, environ: Mapping[str, str]) -> RankEnviron:
        rank = _number(environ, variables.rank)
        world_size = _number(environ, variables.world_size)
        node_rank, local_rank, local_world_size = _place(rank, world_size, environ)
        local_rank = _number(environ, variables.local_rank, local_rank)
        if environ.get("LAUNCHER_SLOTS") is None:
            node_rank = _number(environ, variables.node_rank, node_rank)
            local_world_size = _local_size(environ, variables, node_rank, local_world_size)
        return cls(
            rank=rank,
            world_size=world_size,
            local_rank=local_rank,
            local_world_size=local_world_size,
            node_rank=node_rank,
            set_by=variables.name,
        )


@dataclass(frozen=True, kw_only=True)
class LaunchEnviron:
    """What our own command sets for every rank. Under another launcher all of it may be missing."""

    run_id: str
    run_dir: Path | None
    """Without one, nothing is redirected and nothing is recorded."""
    attempt: int
    node_name: str
    backend: str
    device: str
    """`cpu`, `cuda`, or `auto` if it is not set."""
    gpu_shared: bool
    """Several ranks share one GPU, which NCCL refuses."""
    grace_s: float
    """Seconds between a stop request and SIGKILL."""
    logical_shards: int | None
    """Fixed number of parts of every global batch; None: one part per rank."""
    parent_pid: int | None
    """The process that started the agent: if it dies, the agent stops the ranks."""
    cwd: Path | None = None
    """Working folder of the program; None keeps the current one."""
    frozen_cwd: Path | None = None
    """What replaces `cwd` on a node that does not have it: its copy in the code snapshot."""
    import_folder: Path | None = None
    """First on the import path of a module: the copy of `cwd`; None uses the folder itself."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> LaunchEnviron:
        return cls(
            run_id=environ.get("LAUNCHER_RUN_ID", ""),
            run_dir=_path(environ, "LAUNCHER_RUN_DIR"),
            attempt=_number(environ, "LAUNCHER_ATTEMPT", 1),
            node_name=environ.get("LAUNCHER_NODE_NAME", ""),
            backend=environ.get("LAUNCHER_BACKEND") or _backend_of(environ),
            device=environ.get("LAUNCHER_DEVICE", "auto"),
            gpu_shared=environ.get("LAUNCHER_GPU_SHARED") == "1",
            grace_s=float(environ.get("LAUNCHER_GRACE_S", "30")),
            logical_shards=_number(environ, "LAUNCHER_LOGICAL_SHARDS", 0) or None,
            parent_pid=_number(environ, "LAUNCHER_PARENT_PID", 0) or None,
            cwd=_path(environ, "LAUNCHER_CWD"),
            frozen_cwd=_path(environ, "LAUNCHER_FROZEN_CWD"),
            import_folder=_path(environ, "LAUNCHER_IMPORT_FOLDER"),
        )

    def parent_is_gone(self) -> bool:
        """Return whether the process that started this agent has died."""
        return self.parent_pid not in (None, os.getppid())


def _backend_of(environ: Mapping[str, str]) -> str:
    """Return the backend that fits the launcher that started us, if LAUNCHER_BACKEND is not set.

    If MASTER_ADDR is set we use torch.distributed, even under mpirun. Slurm has no MPI of its own:
    its ranks use MPI only under `srun --mpi=pmix`. PMI_RANK alone does not prove an MPI.
    """
    launcher = RankEnviron.from_environ(environ).set_by
    if launcher == "horovod":
        return "horovod"
    by_mpi = (
        launcher == "openmpi"
        or (launcher == "mpich" and "MPI_LOCALRANKID" in environ)
        or (launcher == "slurm" and environ.get("PMIX_NAMESPACE", "").startswith("slurm."))
    )
    return "mpi" if by_mpi and not environ.get("MASTER_ADDR") else "torchrun"


def node_variables(environ: Mapping[str, str], node_rank: int) -> dict[str, str]:
    """Return the variables of one node, for ranks of several nodes that one command starts.

    `LAUNCHER_NODES` has them as a JSON list with one object per node.
    """
    nodes = json.loads(environ.get("LAUNCHER_NODES") or "[]")
    return dict(nodes[node_rank]) if node_rank < len(nodes) else {}


def torchrun_variables(place: RankEnviron, *, group_rank: int, groups: int) -> dict[str, str]:
    """Return the variables in which torchrun gives a rank its place.

    `group_rank` counts the nodes that have ranks, and `groups` is their number; our `node_rank`
    also counts nodes without ranks.
    """
    variables = VARIABLES["torchrun"]
    return {
        variables.rank: str(place.rank),
        variables.world_size: str(place.world_size),
        variables.local_rank: str(place.local_rank),
        variables.local_world_size: str(place.local_world_size),
        variables.node_rank: str(group_rank),
        "GROUP_WORLD_SIZE": str(groups),
        "ROLE_NAME": "default",
        "ROLE_RANK": str(place.rank),
        "ROLE_WORLD_SIZE": str(place.world_size),
    }


def _present(variables: Variables, environ: Mapping[str, str]) -> bool:
    return bool(environ.get(variables.rank) and environ.get(variables.world_size))


def _is_slurms(variables: Variables, environ: Mapping[str, str]) -> bool:
    """Return whether Slurm set the variables of MPICH.

    `srun --mpi=pmi2` sets rank and size that way, but the place on the node only in its own.
    """
    return (
        variables.name == "mpich"
        and variables.local_rank not in environ
        and _present(VARIABLES["slurm"], environ)
    )


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name)
    return Path(text) if text else None


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name)
    if text is None or text == "":
        if default is not None:
            return default
        raise ConfigError(f"`{name}` is not set", hint="start the program with a launcher")
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            f"invalid `{name}`: expected a number, got `{text}`",
            hint=f"unset `{name}`, or set it to a number",
        ) from None


def _place(rank: int, world_size: int, environ: Mapping[str, str]) -> tuple[int, int, int]:
    """Return node rank, local rank and local world size, by the slots that the plan gave out."""
    first = 0
    for node_rank, slots in enumerate(slots_of(environ)):
        if rank < first + slots:
            return node_rank, rank - first, slots
        first += slots
    return _number(environ, "LAUNCHER_NODE_RANK", 0), rank, world_size


def slots_of(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Return the number of ranks of each node; empty if LAUNCHER_SLOTS is not set."""
    text = environ.get("LAUNCHER_SLOTS", "")
    try:
        return read_counts(text)
    except ValueError:
        raise ConfigError(
            f"invalid `LAUNCHER_SLOTS`: expected the number of ranks per node, got `{text}`",
            hint="for example `2(x3),1`",
        ) from None


def _local_size(
    environ: Mapping[str, str], variables: Variables, node_rank: int, default: int
) -> int:
    text = environ.get(variables.local_world_size, "")
    if variables.rank == "SLURM_PROCID" and text:
        sizes = _slurm_sizes(variables.local_world_size, text)
        return sizes[node_rank] if node_rank < len(sizes) else default
    return _number(environ, variables.local_world_size, default)


def _slurm_sizes(name: str, text: str) -> tuple[int, ...]:
    try:
        return read_counts(text)
    except ValueError:
        raise ConfigError(
            f"invalid `{name}`: expected what Slurm writes, such as `2(x3),1`, got `{text}`",
            hint="check whether a script changes it",
        ) from None
