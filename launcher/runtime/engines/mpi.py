"""MPI for objects and barriers, torch.distributed for tensors and votes.

`docs/adr/0011-mpi-control-and-data-plane.md` says why.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from array import array
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from mpi4py import MPI

from launcher.errors import ConfigError, TrainingError
from launcher.runtime.engines.torch import TorchEngine, init_process_group
from launcher.runtime.listen import listen

if TYPE_CHECKING:
    import torch

    from launcher.runtime.engines.engine import Engine
    from launcher.runtime.environ import LaunchEnviron, RankEnviron

__all__ = ["MpiEngine", "connect"]

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
        several = place.local_world_size < place.world_size
        init_process_group(_store(control, several_nodes=several), place, launch, device)
    return MpiEngine(control, device=device, owns_group=owns).after_handshake()


class MpiEngine(TorchEngine):
    """Sends objects and barriers with MPI, tensors and votes with `torch.distributed`."""

    name = "mpi"

    def __init__(self, control: MPI.Comm, *, device: torch.device, owns_group: bool) -> None:
        super().__init__(device=device, owns_group=owns_group)
        self._control = control

    def _broadcast_bytes(self, own: bytes, root: int) -> bytes:
        self._synchronize()
        return _broadcast(self._control, own, root)

    def _gather_bytes(self, own: bytes) -> list[bytes]:
        self._synchronize()
        sizes = array("q", bytes(8 * self.world_size))
        self._control.Allgather([array("q", [len(own)]), MPI.INT64_T], [sizes, MPI.INT64_T])
        found = bytearray(sum(sizes))
        self._control.Allgatherv([own, MPI.BYTE], [found, list(sizes), MPI.BYTE])
        ends = list(itertools.accumulate(sizes))
        return [bytes(found[end - size : end]) for end, size in zip(ends, sizes, strict=True)]

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


def _broadcast(control: MPI.Comm, own: bytes, root: int) -> bytes:
    """Return the bytes of `root`. The methods of mpi4py in lower case would unpickle them."""
    size = array("q", [len(own)])
    control.Bcast([size, MPI.INT64_T], root)
    sent = bytearray(own) if control.rank == root else bytearray(size[0])
    control.Bcast([sent, MPI.BYTE], root)
    return bytes(sent)


def _store(control: MPI.Comm, *, several_nodes: bool) -> Any:
    """Return torch's store. Rank 0 binds its port before it sends it, so that there is no race."""
    timeout = timedelta(seconds=_STORE_TIMEOUT_S)
    if control.rank == 0:
        address = os.environ.get("MASTER_ADDR") or socket.gethostname()
        with listen(address, 0, several_nodes=several_nodes) as listener:
            port = listener.getsockname()[1]
            store = dist.TCPStore(  # type: ignore[attr-defined]
                address,
                port,
                is_master=True,
                wait_for_workers=False,
                timeout=timeout,
                master_listen_fd=listener.detach(),
            )
        _broadcast(control, json.dumps([address, port]).encode(), 0)
        return store
    address, port = json.loads(_broadcast(control, b"", 0))
    return dist.TCPStore(  # type: ignore[attr-defined]
        address, port, is_master=False, wait_for_workers=False, timeout=timeout
    )
