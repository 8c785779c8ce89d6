"""`cluster=local`: every node is a share of this machine."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.cluster.candidate import Candidate, Candidates
from launcher.cluster.machine import Machine, torch_has_cuda
from launcher.cluster.request import ClusterRequest
from launcher.errors import PreflightError
from launcher.specs import Node

ADDRESS = "127.0.0.1"


def candidates(request: ClusterRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
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
