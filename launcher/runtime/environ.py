"""Who am I: what the environment variables of this process say about its rank and its run."""

from __future__ import annotations

import json
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
    """One rank's place among the others."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    table: str
    """Name of the `Variables` that were read; empty for a program that was started alone."""

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
        backend = environ.get("LAUNCHER_BACKEND")
        for variables in BACKENDS[backend].environ if backend else VARIABLES.values():
            if _present(variables, environ) and not _is_slurms(variables, environ):
                return cls._from_variables(variables, environ)
        return cls(rank=0, world_size=1, local_rank=0, local_world_size=1, node_rank=0, table="")

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
            table=variables.name,
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
