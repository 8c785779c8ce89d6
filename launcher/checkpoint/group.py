"""How the ranks of one attempt reach each other."""

from __future__ import annotations

from typing import Any, Protocol


class Group(Protocol):
    """The ranks that restore together.

    One operation is enough: it is used when a checkpointer is made and while restoring, never while
    saving. Every engine has it, with or without a torch process group.

    Engines also have a `name` and `logical_shards`, which are written down with every checkpoint.
    """

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    def all_gather_object(self, obj: Any) -> list[Any]:
        """Return the objects of all ranks, by rank."""


def logical_shards(group: Group) -> int | None:
    """Return into how many parts the group cuts every batch; None when it is one per rank."""
    found: int | None = getattr(group, "logical_shards", None)
    return found


class SingleProcess:
    """The group of a program that runs alone."""

    rank = 0
    world_size = 1
    name = "single"

    def all_gather_object(self, obj: Any) -> list[Any]:
        return [obj]
