"""The engine of a single rank: there is nothing to communicate."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from launcher.runtime.engines.engine import OneShardPerRank, without_wrappers

if TYPE_CHECKING:
    import torch

    from launcher.runtime.engines.engine import Engine, ReduceOp, Vote
    from launcher.runtime.environ import LaunchEnviron, RankEnviron

__all__ = ["SingleEngine", "connect"]

T = TypeVar("T")


def connect(place: RankEnviron, launch: LaunchEnviron, device: torch.device) -> Engine:
    """Return the engine; there is no other rank to connect with."""
    return SingleEngine()


@dataclass(frozen=True)
class _Ballot:
    flag: bool


class SingleEngine(OneShardPerRank):
    """The engine of a rank that is alone. It does not need torch itself."""

    name = "single"
    rank = 0
    world_size = 1

    def wrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        return model

    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        return without_wrappers(model)

    def wrap_optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        return optimizer

    def accumulate(self, model: torch.nn.Module, *, last: bool) -> AbstractContextManager[None]:
        return nullcontext()

    def all_reduce(self, tensor: torch.Tensor, op: ReduceOp = "sum") -> torch.Tensor:
        return tensor

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> torch.Tensor:
        return tensor

    def broadcast_object(self, obj: T, root: int = 0) -> T:
        return obj

    def all_gather_object(self, obj: T) -> list[T]:
        return [obj]

    def barrier(self, timeout_s: float) -> None:
        """There is no other rank to wait for."""

    def vote_start(self, flag: bool) -> Vote:  # noqa: FBT001
        return _Ballot(flag)

    def vote_result(self, vote: Vote) -> bool:
        assert isinstance(vote, _Ballot)
        return vote.flag

    def close(self) -> None:
        """There is nothing to close."""
