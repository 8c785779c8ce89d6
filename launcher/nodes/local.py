"""`cluster=local`: every node is a share of this machine."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import PreflightError
from launcher.nodes.candidate import Candidate, Candidates
from launcher.nodes.config import NodesRequest
from launcher.specs import Node

ADDRESS = "127.0.0.1"


def candidates(request: NodesRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
    """Share this machine's cores and GPUs out over `request.nodes` nodes; one if nobody says."""
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


def _usable_gpus(device: str, machine: Machine) -> tuple[str, ...]:
    if device == "cpu":
        return ()
    if device == "cuda":
        _require_cuda(machine)
        return machine.gpus
    return machine.gpus if torch_has_cuda() else ()


def _require_cuda(machine: Machine) -> None:
    if not machine.gpus:
        raise PreflightError(
            "device=cuda, but this machine shows no GPU",
            context="looked at CUDA_VISIBLE_DEVICES and /proc/driver/nvidia/gpus",
            hint="use device=cpu, or check `nvidia-smi` and CUDA_VISIBLE_DEVICES",
        )
    if not torch_has_cuda():
        raise PreflightError(
            "device=cuda, but the installed torch is a CPU build",
            hint="install a CUDA build of torch, or use device=cpu",
        )


def _share(gpus: tuple[str, ...], node_rank: int, slots: int) -> tuple[str, ...]:
    """Deal GPUs out in order; when there are fewer than ranks they go round and are shared."""
    if not gpus:
        return ()
    first = node_rank * slots
    dealt = (gpus[index % len(gpus)] for index in range(first, first + slots))
    return tuple(dict.fromkeys(dealt))


# What this machine has, found without importing torch.
_NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Cores and GPUs that a run may use here."""

    cpus: int
    gpus: tuple[str, ...] = ()
    """As `CUDA_VISIBLE_DEVICES` writes them: indices or UUIDs."""

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> Machine:
        return cls(cpus=len(os.sched_getaffinity(0)), gpus=_gpus(environ))


def torch_has_cuda() -> bool:
    """Tell from the installed version whether torch is a CUDA build (`+cpu` builds are not)."""
    try:
        return not importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


def _gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    # A batch system restricts the devices of an allocation through this variable; "" means none.
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(part.strip() for part in visible.split(",") if part.strip())
    if not _NVIDIA_DEVICES.is_dir():
        return ()
    return tuple(str(index) for index, _ in enumerate(_NVIDIA_DEVICES.iterdir()))
