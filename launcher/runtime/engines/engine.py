"""The contract of an engine: what a training program needs from what connects its ranks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, cast

if TYPE_CHECKING:
    import torch

__all__ = ["Engine", "OneShardPerRank", "ReduceOp", "Shard", "Vote", "without_wrappers"]

ReduceOp = Literal["sum", "mean", "max"]

T = TypeVar("T")


class Vote(Protocol):
    """A vote that is under way. Only the engine that started it can read its result."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One part of every global batch. Seed random numbers by its number, not by the rank."""

    number: int
    count: int
    """The number of parts."""


class Engine(Protocol):
    """Connects this rank with the others.

    This is the smallest set with which a recipe needs no `if backend == ...`. Model and optimizer
    are wrapped separately, because torch averages gradients in the model and Horovod in the
    optimizer; the other call returns its argument.

    A global batch is cut into shards, usually one per rank. With `determinism=logical_shards` their
    number is fixed for the run and a rank has several. A program that iterates over `shards` in
    every step is correct in both cases.

    Every method is collective unless it says otherwise: all ranks call it, in the same order.
    """

    @property
    def name(self) -> str:
        """`single`, `torch`, `horovod` or `mpi`."""

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards of every global batch that this rank computes, at least one.

        Not collective.
        """

    @property
    def logical_shards(self) -> int | None:
        """The fixed number of shards; None if there is one per rank. Not collective."""

    def wrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return a module with rank 0's weights; its gradients are averaged over all shards."""

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return the module without the wrappers of engine and compiler. Not collective."""

    def wrap_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return an optimizer that sees averaged gradients. Call it after `wrap_model`."""

    def accumulate(self, model: torch.nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Enclose forward and backward of one micro-batch; `last` if it is the last of its shard.

        Gradients are averaged when the last shard of this rank ends.
        """

    def sum_shards(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the sum over all shards; each rank passes one tensor for each of its shards."""

    def all_reduce(self, tensor: torch.Tensor, op: ReduceOp = "sum") -> torch.Tensor:
        """Reduce in place over all ranks and return the same tensor."""

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        """Overwrite the tensor with that of `root` and return it."""

    def broadcast_object(self, obj: T, root: int = 0) -> T:
        """Return the object of `root`. It is pickled, so it should be small."""

    def all_gather_object(self, obj: T) -> list[T]:
        """Return the objects of all ranks, in rank order."""

    def barrier(self, timeout_s: float) -> None:
        """Wait until all ranks have called this.

        Raises:
            TrainingError: not all did within `timeout_s`; the error names the missing ranks if the
                engine knows them.
        """

    def vote_start(self, flag: bool) -> Vote:  # noqa: FBT001 - the value, not a mode
        """Start a vote without waiting for other ranks."""

    def vote_result(self, vote: Vote) -> bool:
        """Return whether any rank voted true. Waits until every rank has called `vote_start`."""

    def close(self) -> None:
        """Disconnect from the other ranks. Not collective; never hangs on a rank that died."""


class OneShardPerRank:
    """The shards of an engine that cuts a batch into one part per rank."""

    logical_shards: int | None = None

    @property
    def shards(self: Engine) -> tuple[Shard, ...]:
        return (Shard(number=self.rank, count=self.world_size),)

    def sum_shards(self: Engine, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        (own,) = parts
        return self.all_reduce(own.clone())


def without_wrappers(model: torch.nn.Module) -> torch.nn.Module:
    """Return the module that the program built, without the wrappers of `compile` and DDP."""
    from torch.nn.parallel import DistributedDataParallel  # noqa: PLC0415 - imported without torch

    while True:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):  # from torch.compile
            model = cast("torch.nn.Module", model._orig_mod)
        else:
            return model
