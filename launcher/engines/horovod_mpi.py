"""`backend=horovod_mpi`: Horovod with its MPI controller, under one mpirun."""

from __future__ import annotations

from launcher.engines.horovod import refuse_gpus
from launcher.engines.mpi import under_mpirun
from launcher.engines.table import BackendRequest
from launcher.specs import Command

CONTROLLER = {"HOROVOD_CONTROLLER": "mpi", "HOROVOD_CPU_OPERATIONS": "mpi"}


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return the one command that starts all ranks, and one for each other machine.

    Raises:
        ConfigError: a node was given GPUs.
    """
    refuse_gpus(request)
    return under_mpirun(request, CONTROLLER)
