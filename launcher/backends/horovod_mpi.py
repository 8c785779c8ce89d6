"""`backend=horovod_mpi`: Horovod with its MPI controller, under one mpirun."""

from __future__ import annotations

from launcher.backends.backend import BackendRequest
from launcher.backends.horovod import refuse_gpus
from launcher.backends.mpi import mpirun
from launcher.specs import Command

CONTROLLER = {"HOROVOD_CONTROLLER": "mpi", "HOROVOD_CPU_OPERATIONS": "mpi"}


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return the one command that starts all ranks.

    Raises:
        ConfigError: a node was given GPUs, or is another machine.
    """
    refuse_gpus(request)
    return (mpirun(request, CONTROLLER),)
