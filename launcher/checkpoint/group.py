"""Communication between the ranks of one attempt."""

from __future__ import annotations

from typing import Any, Protocol


class Group(Protocol):
    """The ranks that save and restore together.

    It has one operation, which is used to open a checkpointer and to restore, never to save. Every
    engine has it, with or without a torch process group. Engines also have a `name` and
    `logical_shards`, which are recorded in every checkpoint.
    """

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    def all_gather_object(self, obj: Any) -> list[Any]:
        """Return the objects of all ranks, ordered by rank."""


def logical_shards(group: Group) -> int | None:
    """Return the number of logical shards of every batch; None means one per rank."""
    number: int | None = getattr(group, "logical_shards", None)
    return number


class SingleProcess:
    """The group of a program with one process."""

    rank = 0
    world_size = 1
    name = "single"

    def all_gather_object(self, obj: Any) -> list[Any]:
        return [obj]
