"""`determinism=logical_shards`: the same bits with any number of ranks and any engine.

Every global batch is cut into a fixed number of shards. A rank computes some of them, one at a
time, each as if it were alone; the gradients are then added in an order that does not depend on the
ranks, the engine or the network. `docs/adr/0012-logical-shards.md` says why.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from launcher.errors import ConfigError, TrainingError
from launcher.runtime.engines.engine import Shard
from launcher.runtime.engines.ordered_sum import OrderedSum, parts_of

if TYPE_CHECKING:
    from launcher.runtime.engines.engine import Engine, ReduceOp, Vote

__all__ = ["LogicalShards"]

T = TypeVar("T")

_THREADS = 1
"""The number of threads decides in which order a kernel adds. One is the only number that all ranks
can have, however many of them share a machine."""


class LogicalShards:
    """An engine around another one, which only sends tensors and objects."""

    def __init__(self, inner: Engine, count: int) -> None:
        if inner.world_size > count:
            raise ConfigError(
                f"{inner.world_size} ranks cannot share {count} logical shards",
                hint=f"start at most {count} ranks, or a new run with a larger logical_shards",
            )
        torch.set_num_threads(_THREADS)
        self._inner, self._count = inner, count
        self.logical_shards: int | None = count
        self.shards = tuple(
            Shard(number=number, count=count)
            for number in parts_of(inner.rank, inner.world_size, count)
        )
        self._gradients = self._new_sum()
        self._done = 0
        """Number of shards of this step whose gradients are added."""
        self._step: _Step | None = None

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def rank(self) -> int:
        return self._inner.rank

    @property
    def world_size(self) -> int:
        return self._inner.world_size

    # --- training

    def wrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        for tensor in self.unwrap(model).state_dict().values():
            if isinstance(tensor, torch.Tensor):
                tensor.detach().copy_(self._from_root(tensor.detach(), 0))
        return model

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        return self._inner.unwrap(model)

    def wrap_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        optimizer.register_step_pre_hook(self._require_all_shards)
        return optimizer

    def accumulate(self, model: torch.nn.Module, *, last: bool) -> AbstractContextManager[None]:
        return self._accumulate(model, last=last)

    @contextlib.contextmanager
    def _accumulate(self, model: torch.nn.Module, *, last: bool) -> Iterator[None]:
        if self._step is None:
            self._step, self._done = _Step.begin(model), 0
        yield
        if last:
            self._finish_shard(self._step)

    def _finish_shard(self, step: _Step) -> None:
        self._gradients.add(step.take_gradients())
        self._done += 1
        if self._done < len(self.shards):
            return
        finished, self._gradients, self._step = self._gradients, self._new_sum(), None
        step.check_buffers()
        step.put_gradients(finished.total(self._from_root).div_(self._count))

    def sum_shards(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        # In one message, because parts are small. All ranks but one add zeros to a row, which does
        # not change its bits except for the sign of a zero: `+ 0` removes that first.
        rows = parts[0].new_zeros(self._count, *parts[0].shape)
        for shard, part in zip(self.shards, parts, strict=True):
            rows[shard.number] = part + 0
        self._inner.all_reduce(rows)
        total = rows[0]
        for row in rows[1:]:
            total = total + row
        return total

    def _new_sum(self) -> OrderedSum:
        return OrderedSum(self._count, rank=self.rank, world_size=self.world_size)

    def _from_root(self, tensor: torch.Tensor, root: int) -> torch.Tensor:
        """Return the tensor of `root`. Sent as bytes, because engines support different types."""
        flat = tensor.contiguous().view(-1)
        if flat.numel():
            self._inner.broadcast(flat.view(torch.uint8), root)
        return flat.view(tensor.shape)

    def _require_all_shards(self, *_: Any) -> None:
        if self._done != len(self.shards):
            raise TrainingError(
                f"this rank has computed {self._done} of its {len(self.shards)} logical shards",
                hint="with determinism=logical_shards, iterate over `engine.shards` in every step; "
                "see docs/engines.md",
            )

    # --- passed on to the inner engine

    def all_reduce(self, tensor: torch.Tensor, op: ReduceOp = "sum") -> torch.Tensor:
        return self._inner.all_reduce(tensor, op)

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        return self._inner.broadcast(tensor, root)

    def broadcast_object(self, obj: T, root: int = 0) -> T:
        return self._inner.broadcast_object(obj, root)

    def all_gather_object(self, obj: T) -> list[T]:
        return self._inner.all_gather_object(obj)

    def barrier(self, timeout_s: float) -> None:
        self._inner.barrier(timeout_s)

    def vote_start(self, flag: bool) -> Vote:  # noqa: FBT001
        return self._inner.vote_start(flag)

    def vote_result(self, vote: Vote) -> bool:
        return self._inner.vote_result(vote)

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True)
class _Step:
    """What is kept of a model from the first shard of a step to the last."""

    model: torch.nn.Module
    parameters: tuple[torch.nn.Parameter, ...]
    earlier: tuple[torch.Tensor | None, ...]
    """Gradients from before, in a program that adds up several steps."""
    buffers: dict[str, tuple[int, int]]

    @classmethod
    def begin(cls, model: torch.nn.Module) -> _Step:
        parameters = tuple(each for each in model.parameters() if each.requires_grad)
        earlier = tuple(each.grad for each in parameters)
        for parameter in parameters:
            parameter.grad = None
        return cls(model, parameters, earlier, _versions(model))

    def take_gradients(self) -> torch.Tensor:
        """Return all gradients as one tensor, of their widest type, and clear them."""
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        return torch.cat([each.detach().reshape(-1) for each in found])

    def put_gradients(self, whole: torch.Tensor) -> None:
        pieces = torch.split(whole, [each.numel() for each in self.parameters])
        for parameter, earlier, piece in zip(self.parameters, self.earlier, pieces, strict=True):
            gradient = piece.view(parameter.shape).to(parameter.dtype)
            parameter.grad = gradient if earlier is None else earlier + gradient

    def check_buffers(self) -> None:
        now = _versions(self.model)
        changed = next((name for name in now if self.buffers.get(name) != now[name]), None)
        if changed:
            raise TrainingError(
                f"the forward pass changes `{changed}`, a buffer of the model",
                context="with determinism=logical_shards each rank sees only some of the shards, "
                "so that the buffer would depend on the number of ranks",
                hint="freeze it (batch norm: `.eval()`), or use determinism=same_ranks",
            )


def _versions(model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """Return the identity of each buffer and how often it was written."""
    return {name: (id(each), each._version) for name, each in model.named_buffers()}
