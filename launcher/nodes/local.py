"""`cluster=local` divides this machine into nodes; the nodes of `cluster=sim` do not exist."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.errors import PreflightError
from launcher.nodes.candidate import Candidate, Candidates, NodesRequest
from launcher.nodes.slurm_task import Caller
from launcher.specs import Node
from launcher.transports.remote.node_probe import torch_cuda

ADDRESS = "127.0.0.1"
_FIRST = ipaddress.IPv4Address("198.18.0.1")  # of the range reserved for benchmarks (RFC 2544)


def candidates(request: NodesRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
    """Divide the cores and GPUs of this machine among `request.nodes` nodes, 1 by default."""
    nodes = request.nodes or 1
    gpus = _usable_gpus(request.device, machine)
    slots = request.slots or max(1, len(gpus) // nodes)
    return Candidates(
        source="local",
        complete=True,
        hosts=tuple(
            Candidate(
                slots=slots,
                node=Node(
                    node_rank=rank,
                    name=f"local{rank}",
                    address=ADDRESS,
                    slots=slots,
                    gpus=_share(gpus, rank, slots),
                    cpus=max(1, machine.cpus // nodes),
                ),
            )
            for rank in range(nodes)
        ),
    )


def simulated(request: NodesRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
    """Return nodes like this machine, with one GPU for each rank if `device=cuda`.

    They serve to look at the plan of a large run.
    """
    nodes = request.nodes or 1
    slots = request.slots or 1
    gpus = tuple(str(index) for index in range(slots)) if request.device == "cuda" else ()
    width = len(str(nodes - 1))
    return Candidates(
        source="sim",
        complete=True,
        notes=("cluster=sim: these nodes do not exist",),
        hosts=tuple(
            Candidate(
                slots=slots,
                node=Node(
                    node_rank=rank,
                    name=f"sim{rank:0{width}}",
                    address=str(_FIRST + rank),
                    interface="eth0",
                    slots=slots,
                    gpus=gpus,
                    cpus=machine.cpus,
                ),
            )
            for rank in range(nodes)
        ),
    )


def _usable_gpus(device: str, machine: Machine) -> tuple[str, ...]:
    if device == "cpu":
        return ()
    if device == "cuda":
        _require_cuda(machine)
        return machine.gpus
    return machine.gpus if machine.has_cuda else ()


def _require_cuda(machine: Machine) -> None:
    if not machine.gpus:
        raise PreflightError(
            "device=cuda, but no GPU is visible on this machine",
            context="checked CUDA_VISIBLE_DEVICES and /proc/driver/nvidia/gpus",
            hint="use device=cpu, or check `nvidia-smi` and CUDA_VISIBLE_DEVICES",
        )
    if not machine.has_cuda:
        raise PreflightError(
            "device=cuda, but the installed torch is a CPU build",
            hint="install a CUDA build of torch, or use device=cpu",
        )


def _share(gpus: tuple[str, ...], node_rank: int, slots: int) -> tuple[str, ...]:
    """Return the GPUs of a node, in order. Ranks share GPUs if there are fewer GPUs than ranks."""
    if not gpus:
        return ()
    first = node_rank * slots
    dealt = (gpus[index % len(gpus)] for index in range(first, first + slots))
    return tuple(dict.fromkeys(dealt))


# What this machine has. Does not import torch.
_NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Cores and GPUs of this machine that a run may use."""

    cpus: int
    gpus: tuple[str, ...] = ()
    """As `CUDA_VISIBLE_DEVICES` writes them: indices or UUIDs."""
    has_cuda: bool = False
    """Whether its torch is a CUDA build; only known if there are GPUs."""
    caller: Caller = field(default_factory=Caller)
    """How this process was started, in terms of Slurm."""

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> Machine:
        gpus = _gpus(environ)
        has_cuda = bool(gpus) and bool(torch_cuda({}))
        return cls(
            cpus=len(os.sched_getaffinity(0)),
            gpus=gpus,
            has_cuda=has_cuda,
            caller=Caller.here(environ),
        )


def _gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    # A batch system limits the devices of an allocation with this variable; "" means none.
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(part.strip() for part in visible.split(",") if part.strip())
    if not _NVIDIA_DEVICES.is_dir():
        return ()
    return tuple(str(index) for index, _ in enumerate(_NVIDIA_DEVICES.iterdir()))
