"""MPI for objects and barriers, torch.distributed for tensors and votes.

`docs/adr/0011-mpi-control-and-data-plane.md` says why.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch.distributed as dist
from mpi4py import MPI

from launcher.errors import ConfigError, TrainingError
from launcher.runtime.engines.torch import TorchEngine

if TYPE_CHECKING:
    import torch

    from launcher.runtime.engines.engine import Engine
    from launcher.runtime.environ import LaunchEnviron, RankEnviron

__all__ = ["MpiEngine", "connect"]


T = TypeVar("T")

_STORE_TIMEOUT_S = 300.0
_FIRST_NAP_S, _LONGEST_NAP_S = 20e-6, 2e-3


def connect(place: RankEnviron, launch: LaunchEnviron, device: torch.device) -> Engine:
    """Join the process group at an address that rank 0 sends through MPI."""
    world = MPI.COMM_WORLD
    if (world.rank, world.size) != (place.rank, place.world_size):
        raise ConfigError(
            f"MPI calls this process rank {world.rank} of {world.size}, its launcher "
            f"{place.rank} of {place.world_size}",
            hint="mpirun and the library that mpi4py loads must belong to the same MPI: "
            "`pip install 'hydra-torch-launcher[mpi]'` installs both",
        )
    # A communicator of our own: our messages cannot mix with those of the program.
    control = world.Dup()
    owns = not dist.is_initialized()
    if owns:
        nccl = device.type == "cuda" and not launch.gpu_shared
        dist.init_process_group(
            "nccl" if nccl else "gloo",
            store=_store(control),
            rank=place.rank,
            world_size=place.world_size,
            device_id=device if nccl else None,
        )
    return MpiEngine(control, device=device, owns_group=owns)


class MpiEngine(TorchEngine):
    """Sends objects and barriers with MPI, tensors and votes with `torch.distributed`."""

    name = "mpi"

    def __init__(self, control: MPI.Comm, *, device: torch.device, owns_group: bool) -> None:
        super().__init__(device=device, owns_group=owns_group)
        self._control = control

    def broadcast_object(self, obj: T, root: int = 0) -> T:
        self._synchronize()
        found: T = self._control.bcast(obj, root=root)
        return found

    def all_gather_object(self, obj: T) -> list[T]:
        self._synchronize()
        found: list[T] = self._control.allgather(obj)
        return found

    def barrier(self, timeout_s: float) -> None:
        if not _wait(self._control.Ibarrier(), timeout_s):
            raise TrainingError(
                f"barrier timed out after {timeout_s:g} s: not all ranks reached it",
                context=f"rank {self.rank} reached it",
                hint="see the logs of the other ranks: one hangs or died",
            )

    def _synchronize(self) -> None:
        """Wait for the slowest rank without using CPU, which a blocking call of MPI would."""
        _wait(self._control.Ibarrier(), float("inf"))


def _wait(request: MPI.Request, timeout_s: float) -> bool:
    """Return whether `request` completed in time."""
    deadline = time.monotonic() + timeout_s
    nap_s = _FIRST_NAP_S
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(nap_s)
        nap_s = min(nap_s * 1.5, _LONGEST_NAP_S)
    return True


def _store(control: MPI.Comm) -> Any:
    """Return torch's store. Rank 0 binds its port before it sends it, so that there is no race."""
    timeout = timedelta(seconds=_STORE_TIMEOUT_S)
    if control.rank == 0:
        address = os.environ.get("MASTER_ADDR") or socket.gethostname()
        with socket.create_server(("", 0)) as listener:
            port = listener.getsockname()[1]
            store = dist.TCPStore(  # type: ignore[attr-defined]
                address,
                port,
                is_master=True,
                wait_for_workers=False,
                timeout=timeout,
                master_listen_fd=listener.detach(),
            )
        control.bcast((address, port), root=0)
        return store
    address, port = control.bcast(None, root=0)
    return dist.TCPStore(  # type: ignore[attr-defined]
        address, port, is_master=False, wait_for_workers=False, timeout=timeout
    )
