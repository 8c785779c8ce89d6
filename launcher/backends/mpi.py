"""`backend=mpi`: one mpirun for all ranks, started on the head.

Everything that differs between Open MPI 4, Open MPI 5 and MPICH travels as variables, each of which
the others ignore: so one argv serves all three, and planning needs not know which one is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from launcher.backends.backend import BackendRequest
from launcher.errors import ConfigError
from launcher.specs import Command

FLAVOURS: Mapping[str, str] = MappingProxyType(
    {
        # Batch systems and containers run as root; Open MPI wants that said, version 5 by PRTE too.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_ALLOW_RUN_AS_ROOT": "1",
        "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        # The plan says how many ranks a machine takes, not the number of its cores.
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        # A rank bound to one core would keep its data loaders and OpenMP threads there.
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        # A waiting rank must not take the core from one that computes.
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
)
"""Settings that make all MPI launchers behave the same."""


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return the one command that starts all ranks.

    Raises:
        ConfigError: the nodes are not all shares of one machine.
    """
    return (mpirun(request, {}),)


def mpirun(request: BackendRequest, extra: Mapping[str, str]) -> Command:
    """Return the command that runs the program under mpirun, with `extra` variables."""
    _require_one_machine(request)
    head = request.cluster.head
    launcher = ("mpirun", "-np", str(request.cluster.world_size))
    guard = (request.python, "-m", "launcher.runtime.guard", "--")
    program = (request.program.path, *request.program.args)
    command = request.command(
        head,
        (request.python, "-m", "launcher.runtime.mpirun", "--", *launcher, *guard, *program),
    )
    command.env.update(
        {
            **FLAVOURS,
            "MASTER_ADDR": request.rendezvous.address,
            "MASTER_PORT": str(request.rendezvous.port),
            "LAUNCHER_NODES": json.dumps(_own_variables(request)),
            **extra,
        }
    )
    return command


def _own_variables(request: BackendRequest) -> list[dict[str, str]]:
    """Return what differs between the nodes: the ranks pick theirs by their place."""
    envs = [request.env[node.node_rank] for node in request.cluster.nodes]
    names = set().union(*envs)
    differing = sorted(name for name in names if len({env.get(name) for env in envs}) > 1)
    return [{name: env.get(name, "") for name in differing} for env in envs]


def _require_one_machine(request: BackendRequest) -> None:
    head = request.cluster.head
    for node in request.cluster.nodes:
        if node.address != head.address:
            raise ConfigError(
                f"MPI reaches no other machine yet: node {node.name} is not on {head.name}",
                hint="use backend=torchrun for several machines",
            )
