"""Horovod: its background thread moves everything, over Gloo or over MPI.

Known traps, and how each is handled:

* Gradients must be averaged before they are clipped: `accumulate` waits for them.
* Horovod's `backward_passes_per_step` is constant, our number of micro-batches is not:
  `accumulate` sets it each time.
* `broadcast_optimizer_state` steps with zero gradients to create the state, and weight decay then
  changes the parameters. We never call it: all ranks start with the same empty state, or restore
  the same checkpoint.
* Horovod cannot reduce bfloat16 and most integers: they are sent as float32 or int64.
* mpi4py must be imported before Horovod starts MPI, else Horovod finalizes MPI for the program.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import horovod.torch as hvd
import torch
from horovod.common.exceptions import HorovodInternalError

from launcher.errors import TrainingError
from launcher.runtime.engines.engine import without_wrappers
from launcher.runtime.engines.sealed_objects import SealedObjects

if TYPE_CHECKING:
    from launcher.runtime.engines.engine import Engine, ReduceOp, Vote
    from launcher.runtime.environ import LaunchEnviron, RankEnviron

__all__ = ["HorovodEngine", "connect"]

_REDUCIBLE = (torch.float16, torch.float32, torch.float64, torch.int32, torch.int64)
_OPS = {"sum": hvd.Sum, "mean": hvd.Sum, "max": hvd.Max}
_NAMES = 16
"""Names of votes and barriers are reused: Horovod remembers every name forever."""
_POLL_S = 1e-3


def connect(place: RankEnviron, launch: LaunchEnviron, device: torch.device) -> Engine:
    """Start Horovod, or use it if the program has already started it."""
    over_mpi = os.environ.get("HOROVOD_CONTROLLER") == "mpi"
    if over_mpi and importlib.util.find_spec("mpi4py"):
        from mpi4py import MPI  # noqa: F401, PLC0415 - before Horovod, see above
    owns = not hvd.is_initialized()
    if owns:
        hvd.init()
    return HorovodEngine(owns=owns).after_handshake()


@dataclass(frozen=True)
class _Ballot:
    handle: Any


class HorovodEngine(SealedObjects):
    """Connects the ranks with Horovod; the optimizer averages the gradients."""

    name = "horovod"

    def __init__(self, *, owns: bool) -> None:
        super().__init__()
        self._owns = owns
        self._open = True
        self._named: list[tuple[str, torch.nn.Parameter]] = []
        self._optimizers: list[Any] = []
        self._averaged = contextlib.ExitStack()
        """Open while gradients are averaged and `step` must not average them again."""
        self._numbers = itertools.count()

    @property
    def rank(self) -> int:
        return int(hvd.rank())

    @property
    def world_size(self) -> int:
        return int(hvd.size())

    # --- training

    def wrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        plain = without_wrappers(model)
        for tensor in plain.state_dict().values():
            if isinstance(tensor, torch.Tensor):
                self.broadcast(tensor.detach())
        self._named = list(plain.named_parameters())
        return model

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        return without_wrappers(model)

    def wrap_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        held = {id(each) for group in optimizer.param_groups for each in group["params"]}
        named = [(name, each) for name, each in self._named if id(each) in held]
        wrapped = hvd.DistributedOptimizer(
            optimizer,
            # Horovod requires names for all parameters or for none.
            named_parameters=named if len(named) == len(held) else None,
            compression=_Widen,
        )
        # Horovod's has no argument `set_to_none`. The class exists for this one optimizer.
        type(wrapped).zero_grad = type(optimizer).zero_grad
        wrapped.register_step_post_hook(lambda *_: self._averaged.close())
        self._optimizers.append(wrapped)
        result: torch.optim.Optimizer = wrapped
        return result

    def accumulate(self, model: torch.nn.Module, *, last: bool) -> AbstractContextManager[None]:
        return self._accumulate(last=last)

    @contextlib.contextmanager
    def _accumulate(self, *, last: bool) -> Iterator[None]:
        for optimizer in self._optimizers:
            # With one pass more than there will be, Horovod sends nothing.
            optimizer.set_backward_passes_per_step(1 if last else 2)
        yield
        if not last:
            return
        for optimizer in self._optimizers:
            optimizer.synchronize()
            self._averaged.enter_context(optimizer.skip_synchronize())

    # --- tensors

    def all_reduce(self, tensor: torch.Tensor, op: ReduceOp = "sum") -> torch.Tensor:
        sent = _reducible(tensor).reshape(-1).contiguous()
        found = hvd.allreduce(sent, op=_OPS[op], name=f"launcher.all_reduce.{op}")
        tensor.copy_(found.reshape(tensor.shape))
        return tensor.div_(self.world_size) if op == "mean" else tensor

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        # As bytes: Horovod supports fewer types than torch, and bytes are never rounded.
        sent = tensor.detach().reshape(-1).contiguous().view(torch.uint8)
        if sent.numel():
            found = hvd.broadcast(sent, root_rank=root, name=f"launcher.broadcast.{root}")
            tensor.copy_(found.view(tensor.dtype).reshape(tensor.shape))
        return tensor

    # --- objects

    def _broadcast_bytes(self, own: bytes, root: int) -> bytes:
        size = hvd.broadcast(torch.tensor([len(own)]), root, name="launcher.object.size")
        sent = _as_tensor(own) if own else torch.empty(int(size), dtype=torch.uint8)
        found = hvd.broadcast(sent, root, name="launcher.object")
        return bytes(found.numpy())

    def _gather_bytes(self, own: bytes) -> list[bytes]:
        sizes = hvd.allgather(torch.tensor([len(own)]), name="launcher.objects.sizes").tolist()
        joined = bytes(hvd.allgather(_as_tensor(own), name="launcher.objects").numpy())
        ends = list(itertools.accumulate(sizes))
        return [joined[end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def barrier(self, timeout_s: float) -> None:
        handle = self._cast("barrier", flag=True)
        deadline = time.monotonic() + timeout_s
        while not hvd.poll(handle):
            if time.monotonic() > deadline:
                raise self._barrier_error(f"timed out after {timeout_s:g} s", "one hangs or died")
            time.sleep(_POLL_S)
        try:
            hvd.synchronize(handle)
        except HorovodInternalError as error:
            raise self._barrier_error("failed", "one has exited") from error

    def _barrier_error(self, problem: str, reason: str) -> TrainingError:
        return TrainingError(
            f"barrier {problem}: not all ranks reached it",
            context=f"rank {self.rank} reached it",
            hint=f"see the logs of the other ranks: {reason}",
        )

    # --- votes

    def vote_start(self, flag: bool) -> Vote:  # noqa: FBT001
        return _Ballot(self._cast("vote", flag=flag))

    def vote_result(self, vote: Vote) -> bool:
        assert isinstance(vote, _Ballot)
        return bool(hvd.synchronize(vote.handle).item())

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._owns and hvd.is_initialized():
            hvd.shutdown()

    def _cast(self, kind: str, *, flag: bool) -> Any:
        name = f"launcher.{kind}.{next(self._numbers) % _NAMES}"
        return hvd.allreduce_async(
            torch.tensor([int(flag)], dtype=torch.int32), op=hvd.Max, name=name
        )


class _Widen:
    """Widens types that Horovod cannot reduce, through its interface for compression."""

    @staticmethod
    def compress(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.dtype]:
        return _reducible(tensor), tensor.dtype

    @staticmethod
    def decompress(tensor: torch.Tensor, ctx: torch.dtype) -> torch.Tensor:
        return tensor.to(ctx)


def _reducible(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype in _REDUCIBLE:
        return tensor
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def _as_tensor(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
