"""torch.distributed: NCCL between GPUs; gloo between CPUs and between ranks that share a GPU."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from launcher.errors import ConfigError, TrainingError
from launcher.runtime.engines.engine import without_wrappers
from launcher.runtime.engines.sealed_objects import SealedObjects
from launcher.runtime.run_secret import RunSecret
from launcher.runtime.signed_store import SignedStore

if TYPE_CHECKING:
    from launcher.runtime.engines.engine import Engine, ReduceOp, Vote
    from launcher.runtime.environ import LaunchEnviron, RankEnviron

__all__ = ["TorchEngine", "connect"]

_LAST_VOTE_S = 5.0


def connect(place: RankEnviron, launch: LaunchEnviron, device: torch.device) -> Engine:
    """Join the process group, or use the one that the program has already joined."""
    owns = not dist.is_initialized()
    if owns:
        _join(place, launch, device)
    return TorchEngine(device=device, owns_group=owns).after_handshake()


def _join(place: RankEnviron, launch: LaunchEnviron, device: torch.device) -> None:
    if not (os.environ.get("MASTER_ADDR") and os.environ.get("MASTER_PORT")):
        raise ConfigError(
            f"rank {place.rank} of {place.world_size} has no rendezvous address",
            hint="set MASTER_ADDR and MASTER_PORT, or start the program with `python -m launcher`",
        )
    store, *_ = next(rendezvous("env://", place.rank, place.world_size))
    init_process_group(store, place, launch, device)


def init_process_group(
    store: Any, place: RankEnviron, launch: LaunchEnviron, device: torch.device
) -> None:
    """Join the process group through `store`, with NCCL on GPUs and gloo otherwise."""
    nccl = device.type == "cuda" and not launch.gpu_shared
    dist.init_process_group(
        "nccl" if nccl else "gloo",
        # Threads of NCCL read the store at any time, also when they cannot run Python.
        store=store if nccl else SignedStore(store, RunSecret.from_environ(os.environ)),
        rank=place.rank,
        world_size=place.world_size,
        device_id=device if nccl else None,
    )


@dataclass(frozen=True)
class _Ballot:
    tensor: torch.Tensor
    work: dist.Work


class TorchEngine(SealedObjects):
    """Connects the ranks with `torch.distributed`.

    Objects and barriers have a gloo group of their own, and so have votes: they stay on the CPU,
    never wait for a kernel, and keep their order among themselves.
    """

    name = "torch"

    def __init__(self, *, device: torch.device, owns_group: bool) -> None:
        super().__init__()
        self._device = device
        self._owns_group = owns_group
        self._objects = dist.new_group(backend="gloo")
        self._votes = dist.new_group(backend="gloo")
        self._last_vote: _Ballot | None = None
        self._open = True

    @property
    def rank(self) -> int:
        return int(dist.get_rank())

    @property
    def world_size(self) -> int:
        return int(dist.get_world_size())

    def wrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        on_gpu = self._device.type == "cuda"
        return DistributedDataParallel(
            model,
            device_ids=[self._device] if on_gpu else None,
            gradient_as_bucket_view=True,  # saves one copy of all gradients
        )

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        return without_wrappers(model)

    def wrap_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return optimizer

    def accumulate(self, model: torch.nn.Module, *, last: bool) -> AbstractContextManager[None]:
        if last:
            return nullcontext()
        no_sync = getattr(model, "no_sync", nullcontext)
        return cast("AbstractContextManager[None]", no_sync())

    def all_reduce(self, tensor: torch.Tensor, op: ReduceOp = "sum") -> torch.Tensor:
        kind = dist.ReduceOp.MAX if op == "max" else dist.ReduceOp.SUM
        dist.all_reduce(tensor, op=kind, group=self._group_for(tensor))
        # Gloo has no average, and both backends should round in the same way.
        return tensor.div_(self.world_size) if op == "mean" else tensor

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        dist.broadcast(tensor, src=root, group=self._group_for(tensor))
        return tensor

    def _broadcast_bytes(self, own: bytes, root: int) -> bytes:
        size = torch.tensor([len(own)])
        dist.broadcast(size, src=root, group=self._objects)
        sent = _as_tensor(own) if own else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(sent, src=root, group=self._objects)
        return sent.numpy().tobytes()

    def _gather_bytes(self, own: bytes) -> list[bytes]:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([len(own)]), group=self._objects)
        longest = max(int(size) for size in sizes)
        found = [torch.empty(longest, dtype=torch.uint8) for _ in sizes]
        dist.all_gather(found, _as_tensor(own.ljust(longest, b"\0")), group=self._objects)
        return [
            each[: int(size)].numpy().tobytes() for each, size in zip(found, sizes, strict=True)
        ]

    def barrier(self, timeout_s: float) -> None:
        try:
            dist.monitored_barrier(
                group=self._objects, timeout=timedelta(seconds=timeout_s), wait_all_ranks=True
            )
        except RuntimeError as error:
            raise TrainingError(
                f"barrier timed out after {timeout_s:g} s: not all ranks reached it",
                context=str(error),
                hint="see the log of the missing rank: it hangs or died",
            ) from error

    def vote_start(self, flag: bool) -> Vote:  # noqa: FBT001
        tensor = torch.tensor([int(flag)], dtype=torch.int32)
        work = dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._votes, async_op=True)
        self._last_vote = _Ballot(tensor, work)
        return self._last_vote

    def vote_result(self, vote: Vote) -> bool:
        assert isinstance(vote, _Ballot)
        vote.work.wait()
        return bool(vote.tensor.item())

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        # Both calls raise if a peer has died; that rank has reported its own failure.
        with contextlib.suppress(RuntimeError):
            if self._last_vote is not None:
                self._last_vote.work.wait(timedelta(seconds=_LAST_VOTE_S))
        with contextlib.suppress(RuntimeError, ValueError):
            if self._owns_group and dist.is_initialized():
                dist.destroy_process_group()

    def _group_for(self, tensor: torch.Tensor) -> dist.ProcessGroup | None:
        """Return the gloo group for CPU tensors under NCCL, which can only move GPU tensors."""
        on_cpu = tensor.device.type == "cpu"
        return self._objects if on_cpu and dist.get_backend() == "nccl" else None


def _as_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
