"""What a training program needs from whatever connects its ranks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

    from launcher.runtime.engines.shards import Shard

__all__ = ["Engine", "ReduceOp", "Vote"]

ReduceOp = Literal["sum", "mean", "max"]

T = TypeVar("T")


class Vote(Protocol):
    """A question to all ranks that is on its way; only the engine that made it can read it."""


class Engine(Protocol):
    """Connects this rank with the others.

    The smallest set with which a recipe needs no `if backend == ...`. Model and optimiser are
    wrapped separately because engines differ in which of the two carries the gradients: torch
    wraps the model, Horovod the optimiser; the other call returns what it was given.

    A global batch is cut into shards. Mostly there is one for each rank; with
    `determinism=logical_shards` their number is fixed for the run and a rank has several. A program
    that goes through `shards` in every step need not know which it is.

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
        """How many shards there are at any number of ranks; None where it is one per rank.

        Not collective.
        """

    def wrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return a module whose gradients are averaged over all shards; starts as rank 0's."""

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return the module without the wrappings of engine and compiler. Not collective."""

    def wrap_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return an optimiser that sees averaged gradients. Called after `wrap_model`."""

    def accumulate(self, model: torch.nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Enclose forward and backward of one micro-batch; `last` says that it ends its shard.

        Gradients travel when the last shard of this rank ends.
        """

    def sum_shards(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the sum over all shards; each rank brings one tensor for each of its shards."""

    def all_reduce(self, tensor: torch.Tensor, op: ReduceOp = "sum") -> torch.Tensor:
        """Reduce in place over all ranks and return the same tensor."""

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        """Overwrite in place with the root's and return the same tensor."""

    def broadcast_object(self, obj: T, root: int = 0) -> T:
        """Return the root's object; small ones, they are pickled."""

    def all_gather_object(self, obj: T) -> list[T]:
        """Return every rank's object, in rank order."""

    def barrier(self, timeout_s: float) -> None:
        """Wait until all ranks are here.

        Raises:
            TrainingError: some did not come within `timeout_s`; where it is known, it names them.
        """

    def vote_start(self, flag: bool) -> Vote:  # noqa: FBT001 - it is the ballot
        """Cast a vote without waiting for anyone."""

    def vote_result(self, vote: Vote) -> bool:
        """Return whether any rank voted true; waits for the slowest rank's `vote_start`."""

    def close(self) -> None:
        """Let go of the others. Not collective, and never hangs on a rank that died."""
