"""Horovod, with its Gloo controller (`backend=horovod`) or its MPI controller (`horovod_mpi`).

`horovod` is started by the agents of `torchrun`, `horovod_mpi` by one mpirun.
With Gloo, the agent on the head runs Horovod's rendezvous server; see `docs/engines.md`.
"""

from __future__ import annotations

from launcher.engines import mpi, torchrun
from launcher.engines.table import BackendRequest
from launcher.errors import ConfigError
from launcher.specs import Command

CONTROLLER = {"HOROVOD_CONTROLLER": "mpi", "HOROVOD_CPU_OPERATIONS": "mpi"}


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return one agent per node that has slots, the head first.

    Raises:
        ConfigError: a node has GPUs.
    """
    _refuse_gpus(request)
    return torchrun.agents(request, "--engine", "horovod")


def commands_mpi(request: BackendRequest) -> tuple[Command, ...]:
    """Return the mpirun that starts all ranks, and one agent for each other machine.

    Raises:
        ConfigError: a node has GPUs.
    """
    _refuse_gpus(request)
    return mpi.under_mpirun(request, CONTROLLER)


def _refuse_gpus(request: BackendRequest) -> None:
    """Our build of Horovod moves host memory only."""
    for node in request.cluster.nodes:
        if node.gpus:
            raise ConfigError(
                f"Horovod trains on CPUs only here, but {node.name} was given GPUs",
                hint="use device=cpu or backend=torchrun",
            )
