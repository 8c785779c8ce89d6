"""A sum with the same bits, however its parts are distributed over ranks.

Floating-point addition depends on the order. Here the order is a binary tree over the numbers of
the parts, halved at every level, so that it depends only on how many parts there are::

    0 1 2 3 4 5 6 7         a rank with parts 2, 3 and 4 adds 2 + 3 by itself and sends that sum
    ---  ---  ---  ---      and 4; every rank adds the rest in the order of the tree
    -------   -------
    -----------------

A rank sends as few tensors as its parts have whole branches: one when ranks divide the tree evenly,
and never more than two per level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["OrderedSum", "parts_of"]

Branch = tuple[int, int]
"""The parts from the first number up to, but not including, the second."""
Broadcast = Callable[["torch.Tensor", int], "torch.Tensor"]


def parts_of(rank: int, world_size: int, count: int) -> range:
    """Return the numbers of the parts of `rank`: consecutive, and about equally many per rank."""
    first, last = (count * at // world_size for at in (rank, rank + 1))
    return range(first, last)


class OrderedSum:
    """Adds one tensor per part; each rank adds its own parts, in order. Used once."""

    def __init__(self, count: int, *, rank: int, world_size: int) -> None:
        self._count, self._rank = count, rank
        self._owner = {
            number: owner
            for owner in range(world_size)
            for number in parts_of(owner, world_size, count)
        }
        self._tree = frozenset(_branches((0, count)))
        self._next = parts_of(rank, world_size, count).start
        self._held: list[tuple[Branch, torch.Tensor]] = []

    def add(self, part: torch.Tensor) -> None:
        """Add the next part. The tensor may be overwritten."""
        self._held.append(((self._next, self._next + 1), part))
        self._next += 1
        while len(self._held) > 1 and self._joined in self._tree:
            branch = self._joined
            _, right = self._held.pop()
            _, left = self._held.pop()
            self._held.append((branch, left.add_(right)))

    @property
    def _joined(self) -> Branch:
        """The last two branches as one, which may or may not be a branch of the tree."""
        return self._held[-2][0][0], self._held[-1][0][1]

    def total(self, broadcast: Broadcast) -> torch.Tensor:
        """Return the sum, on every rank; collective. `broadcast` takes a tensor and its root."""
        (_, like), *_ = self._held
        return self._sum((0, self._count), like, broadcast)

    def _sum(self, branch: Branch, like: torch.Tensor, broadcast: Broadcast) -> torch.Tensor:
        first, last = branch
        owner = self._owner[first]
        if owner != self._owner[last - 1]:
            middle = _middle(branch)
            left = self._sum((first, middle), like, broadcast)
            return left.add_(self._sum((middle, last), like, broadcast))
        if owner != self._rank:
            return broadcast(like.new_empty(like.shape), owner)
        held, part = self._held.pop(0)
        assert held == branch, f"part {self._next} of rank {self._rank} is missing"
        return broadcast(part, owner)


def _branches(branch: Branch) -> Iterator[Branch]:
    yield branch
    first, last = branch
    if last - first > 1:
        yield from _branches((first, _middle(branch)))
        yield from _branches((_middle(branch), last))


def _middle(branch: Branch) -> int:
    return (branch[0] + branch[1]) // 2
