"""Who am I: one table from our words to each engine's environment variables.

Foreign names stop here. Everything is a pure function of a mapping, so that it can be tested with
a plain dict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigError
from launcher.specs.cluster import read_counts

__all__ = [
    "TABLES",
    "LaunchEnviron",
    "RankEnviron",
    "Variables",
    "node_variables",
    "slots_of",
    "torchrun_variables",
]


@dataclass(frozen=True, kw_only=True)
class Variables:
    """How one launcher calls the things that every rank has to know."""

    rank: str
    world_size: str
    local_rank: str
    local_world_size: str
    node_rank: str = ""
    """Empty where it has no name; then it follows from the rank and the slots of the nodes."""


TABLES: Mapping[str, Variables] = {
    "torchrun": Variables(
        rank="RANK",
        world_size="WORLD_SIZE",
        local_rank="LOCAL_RANK",
        local_world_size="LOCAL_WORLD_SIZE",
        node_rank="GROUP_RANK",
    ),
    "horovod": Variables(
        rank="HOROVOD_RANK",
        world_size="HOROVOD_SIZE",
        local_rank="HOROVOD_LOCAL_RANK",
        local_world_size="HOROVOD_LOCAL_SIZE",
        # HOROVOD_CROSS_RANK counts, per local rank, the nodes that have it: with unequal slots it
        # is no node rank.
    ),
    "openmpi": Variables(
        rank="OMPI_COMM_WORLD_RANK",
        world_size="OMPI_COMM_WORLD_SIZE",
        local_rank="OMPI_COMM_WORLD_LOCAL_RANK",
        local_world_size="OMPI_COMM_WORLD_LOCAL_SIZE",
        # OMPI_COMM_WORLD_NODE_RANK is a rank's number within its node, in spite of its name.
    ),
    "mpich": Variables(
        rank="PMI_RANK",
        world_size="PMI_SIZE",
        local_rank="MPI_LOCALRANKID",
        local_world_size="MPI_LOCALNRANKS",
    ),
    "slurm": Variables(
        rank="SLURM_PROCID",
        # Not SLURM_NTASKS: that one also stands in a batch script, which is no rank of anything.
        world_size="SLURM_STEP_NUM_TASKS",
        local_rank="SLURM_LOCALID",
        local_world_size="SLURM_STEP_TASKS_PER_NODE",
        node_rank="SLURM_NODEID",
    ),
}
"""In the order in which they are looked for: the innermost launcher first, since mpirun inside a
Slurm step leaves both sets."""

_BY_BACKEND: Mapping[str, tuple[str, ...]] = {
    "torchrun": ("torchrun",),
    "horovod": ("horovod",),
    "horovod_mpi": ("openmpi", "mpich", "slurm"),
    "mpi": ("openmpi", "mpich", "slurm"),
}


@dataclass(frozen=True, kw_only=True)
class RankEnviron:
    """One rank's place among the others."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    table: str
    """Which row of `TABLES` told so; empty for a program that was started alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ConfigError(
                f"rank {self.rank} does not fit a world of {self.world_size}",
                hint=f"check the variables that the launcher (`{self.table}`) sets for its ranks",
            )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> RankEnviron:
        """Read the place from `environ`; a program started alone is rank 0 of 1.

        Raises:
            ConfigError: a variable is no number, or the numbers contradict each other.
        """
        names = _BY_BACKEND.get(environ.get("LAUNCHER_BACKEND", ""), tuple(TABLES))
        for name in names:
            if _tells(name, environ) and not _is_slurms(name, environ):
                return cls._from_table(name, environ)
        return cls(rank=0, world_size=1, local_rank=0, local_world_size=1, node_rank=0, table="")

    @classmethod
    def _from_table(cls, name: str, environ: Mapping[str, str]) -> RankEnviron:
        variables = TABLES[name]
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
            table=name,
        )


@dataclass(frozen=True, kw_only=True)
class LaunchEnviron:
    """What our own command set for every rank; all of it may be missing under a bare launcher."""

    run_id: str
    run_dir: Path | None
    """None when there is no run folder: then nothing is redirected and nothing is recorded."""
    attempt: int
    node_name: str
    backend: str
    device: str
    """`cpu`, `cuda`, or `auto` when nobody decided."""
    gpu_shared: bool
    """Several ranks use one device, which NCCL refuses."""
    grace_s: float
    """Seconds between the request to stop and SIGKILL."""
    logical_shards: int | None
    """Into how many parts every global batch is cut at any number of ranks; None: one per rank."""
    parent_pid: int | None
    """Process that must be alive for us to go on."""
    cwd: Path | None = None
    """Where the program is to stand; None leaves it where it is."""
    frozen_cwd: Path | None = None
    """Where instead, on a node that has no such folder."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> LaunchEnviron:
        return cls(
            run_id=environ.get("LAUNCHER_RUN_ID", ""),
            run_dir=_path(environ, "LAUNCHER_RUN_DIR"),
            attempt=_number(environ, "LAUNCHER_ATTEMPT", 1),
            node_name=environ.get("LAUNCHER_NODE_NAME", ""),
            backend=environ.get("LAUNCHER_BACKEND") or _engine_of(environ),
            device=environ.get("LAUNCHER_DEVICE", "auto"),
            gpu_shared=environ.get("LAUNCHER_GPU_SHARED") == "1",
            grace_s=float(environ.get("LAUNCHER_GRACE_S", "30")),
            logical_shards=_number(environ, "LAUNCHER_LOGICAL_SHARDS", 0) or None,
            parent_pid=_number(environ, "LAUNCHER_PARENT_PID", 0) or None,
            cwd=_path(environ, "LAUNCHER_CWD"),
            frozen_cwd=_path(environ, "LAUNCHER_FROZEN_CWD"),
        )


def _engine_of(environ: Mapping[str, str]) -> str:
    """Return the engine of the launcher that started us, where nobody named one.

    Who says where torch meets wants torch, whatever started the ranks. Slurm brings no MPI of its
    own: only `srun --mpi=pmix` says that its ranks are of MPI. PMI_RANK alone does not.
    """
    table = RankEnviron.from_environ(environ).table
    if table == "horovod":
        return "horovod"
    by_mpi = (
        table == "openmpi"
        or (table == "mpich" and "MPI_LOCALRANKID" in environ)
        or (table == "slurm" and environ.get("PMIX_NAMESPACE", "").startswith("slurm."))
    )
    return "mpi" if by_mpi and not environ.get("MASTER_ADDR") else "torchrun"


def node_variables(environ: Mapping[str, str], node_rank: int) -> dict[str, str]:
    """Return the variables that are this node's own, where one command starts all nodes' ranks.

    `LAUNCHER_NODES` holds them as a JSON list with one object per node.
    """
    nodes = json.loads(environ.get("LAUNCHER_NODES") or "[]")
    return dict(nodes[node_rank]) if node_rank < len(nodes) else {}


def torchrun_variables(place: RankEnviron, *, group_rank: int, groups: int) -> dict[str, str]:
    """Return what torchrun tells a rank about its place, by the names torchrun uses.

    `group_rank` counts the nodes that have ranks, `groups` is how many there are; our `node_rank`
    also counts nodes without any.
    """
    variables = TABLES["torchrun"]
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


def _tells(name: str, environ: Mapping[str, str]) -> bool:
    variables = TABLES[name]
    return bool(environ.get(variables.rank) and environ.get(variables.world_size))


def _is_slurms(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether Slurm set what looks like MPICH's: `srun --mpi=pmi2` does, in part.

    It tells rank and size so, but the place on the node by its own names alone.
    """
    return name == "mpich" and "MPI_LOCALRANKID" not in environ and _tells("slurm", environ)


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name)
    return Path(text) if text else None


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name)
    if text is None or text == "":
        if default is not None:
            return default
        raise ConfigError(f"`{name}` is not set", hint="start the program through a launcher")
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            f"`{name}` is `{text}`, not a number", hint=f"unset `{name}` or set it to a number"
        ) from None


def _place(rank: int, world_size: int, environ: Mapping[str, str]) -> tuple[int, int, int]:
    """Return node rank, local rank and local world size from the slots that the plan dealt out."""
    first = 0
    for node_rank, slots in enumerate(slots_of(environ)):
        if rank < first + slots:
            return node_rank, rank - first, slots
        first += slots
    return _number(environ, "LAUNCHER_NODE_RANK", 0), rank, world_size


def slots_of(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Return how many ranks each node takes, or nothing when the plan did not say."""
    text = environ.get("LAUNCHER_SLOTS", "")
    try:
        return read_counts(text)
    except ValueError:
        raise ConfigError(
            f"`LAUNCHER_SLOTS` is `{text}`", hint="it lists the ranks per node, such as `2(x3),1`"
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
            f"`{name}` is `{text}`", hint="Slurm writes it as `2(x3),1`: does a script change it?"
        ) from None
