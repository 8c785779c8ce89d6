"""The table of backends: one row has everything that the launcher must know about a backend.

Rows contain only plain values, so reading the table imports no engine. The ranks read the same
rows; this is the only module of the room that they import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

from launcher.extensions import Table, load
from launcher.specs import Cluster, Command, Node, Program, Rendezvous

__all__ = ["BACKENDS", "VARIABLES", "Backend", "BackendRequest", "Variables", "commands"]


@dataclass(frozen=True, kw_only=True)
class Variables:
    """The environment variables in which a launcher gives each rank its place."""

    name: str
    """The launcher that sets them."""
    rank: str
    world_size: str
    local_rank: str
    local_world_size: str
    node_rank: str = ""
    """Empty if there is none; then the rank and the slots of the nodes give it."""


VARIABLES: Mapping[str, Variables] = MappingProxyType(
    {
        each.name: each
        for each in (
            Variables(
                name="torchrun",
                rank="RANK",
                world_size="WORLD_SIZE",
                local_rank="LOCAL_RANK",
                local_world_size="LOCAL_WORLD_SIZE",
                node_rank="GROUP_RANK",
            ),
            Variables(
                name="horovod",
                rank="HOROVOD_RANK",
                world_size="HOROVOD_SIZE",
                local_rank="HOROVOD_LOCAL_RANK",
                local_world_size="HOROVOD_LOCAL_SIZE",
                # HOROVOD_CROSS_RANK counts only the nodes that have this local rank: with unequal
                # slots it is not the node rank.
            ),
            Variables(
                name="openmpi",
                rank="OMPI_COMM_WORLD_RANK",
                world_size="OMPI_COMM_WORLD_SIZE",
                local_rank="OMPI_COMM_WORLD_LOCAL_RANK",
                local_world_size="OMPI_COMM_WORLD_LOCAL_SIZE",
                # OMPI_COMM_WORLD_NODE_RANK is a rank's number within its node, despite its name.
            ),
            Variables(
                name="mpich",
                rank="PMI_RANK",
                world_size="PMI_SIZE",
                local_rank="MPI_LOCALRANKID",
                local_world_size="MPI_LOCALNRANKS",
            ),
            Variables(
                name="slurm",
                rank="SLURM_PROCID",
                # Not SLURM_NTASKS: a batch script has that one too, and is not a rank.
                world_size="SLURM_STEP_NUM_TASKS",
                local_rank="SLURM_LOCALID",
                local_world_size="SLURM_STEP_TASKS_PER_NODE",
                node_rank="SLURM_NODEID",
            ),
        )
    }
)
"""In search order, innermost launcher first: under mpirun inside a Slurm step both sets exist."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One value of `backend=`. Functions are named by import path, `module:function`.

    The defaults are those of a backend whose ranks find the variables of torchrun and connect with
    torch.distributed: such a backend only says how to start them.
    """

    name: str
    """What the user types."""
    commands: str
    """`(BackendRequest) -> tuple[Command, ...]`: the commands, in the order in which to start them.

    A pure function; nothing else is ever started. Raises `ConfigError`, naming the node, if the
    backend cannot do what the cluster asks for.
    """
    environ: tuple[Variables, ...] = (VARIABLES["torchrun"],)
    """Where a rank reads its place: the first set that is present."""
    connect: str = "launcher.runtime.engines.torch:connect"
    """`(RankEnviron, LaunchEnviron, torch.device) -> Engine`: connects a rank with the others."""
    missing: str = "launcher.engines.needs:torch"
    """`() -> Iterable[tuple[str, str]]`: what is not installed here, and the command that installs
    it. Must not import the engine."""
    packages: tuple[str, ...] = ()
    """Distributions that every node must have, in the same version, besides torch."""


_MPI = (VARIABLES["openmpi"], VARIABLES["mpich"], VARIABLES["slurm"])

BACKENDS = Table(
    "backend",
    (
        Backend(name="torchrun", commands="launcher.engines.torchrun:commands"),
        Backend(
            name="mpi",
            commands="launcher.engines.mpi:commands",
            environ=_MPI,
            connect="launcher.runtime.engines.mpi:connect",
            missing="launcher.engines.needs:mpi",
            packages=("mpi4py",),
        ),
        Backend(
            name="horovod",
            commands="launcher.engines.horovod:commands",
            environ=(VARIABLES["horovod"],),
            connect="launcher.runtime.engines.horovod:connect",
            missing="launcher.engines.needs:horovod",
            packages=("horovod",),
        ),
        Backend(
            name="horovod_mpi",
            commands="launcher.engines.horovod:commands_mpi",
            environ=_MPI,
            connect="launcher.runtime.engines.horovod:connect",
            missing="launcher.engines.needs:horovod_mpi",
            packages=("horovod", "mpi4py"),
        ),
    ),
    row_type=Backend,
    group="launcher.engines",
)


@dataclass(frozen=True, kw_only=True)
class BackendRequest:
    """Everything that a backend's `commands` may depend on."""

    run_id: str
    cluster: Cluster
    program: Program
    rendezvous: Rendezvous
    python: str
    """Interpreter on the nodes."""
    cwd: str
    env: Mapping[int, Mapping[str, str]]
    """Variables of each node, by node rank."""
    exported: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment of the launcher: its values win over defaults of the backend."""

    def command(self, node: Node, argv: tuple[str, ...]) -> Command:
        return Command(
            node_rank=node.node_rank, argv=argv, env=dict(self.env[node.node_rank]), cwd=self.cwd
        )


def commands(backend: str, request: BackendRequest) -> tuple[Command, ...]:
    """Return the commands of `backend` for `request`."""
    build = cast(
        "Callable[[BackendRequest], tuple[Command, ...]]", load(BACKENDS[backend].commands)
    )
    return build(request)
