"""Into what a global batch is cut: one part per rank, or parts that are fixed for the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from launcher.runtime.engines.engine import Engine

__all__ = ["OneShardPerRank", "Shard"]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One part of every global batch. Seed what is random in it by its number, not by the rank."""

    number: int
    count: int
    """How many parts there are."""


class OneShardPerRank:
    """What an engine says that cuts a batch into as many parts as there are ranks."""

    logical_shards: int | None = None

    @property
    def shards(self: Engine) -> tuple[Shard, ...]:
        return (Shard(number=self.rank, count=self.world_size),)

    def sum_shards(self: Engine, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        (mine,) = parts
        return self.all_reduce(mine.clone())
