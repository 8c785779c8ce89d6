"""How the ranks of one attempt reach each other."""

from __future__ import annotations

from typing import Any, Protocol


class Group(Protocol):
    """The ranks that restore together.

    One operation is enough: it is used when a checkpointer is made and while restoring, never while
    saving. Every engine has it, with or without a torch process group.
    """

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    def all_gather_object(self, obj: Any) -> list[Any]:
        """Return the objects of all ranks, by rank."""


class SingleProcess:
    """The group of a program that runs alone."""

    rank = 0
    world_size = 1
    name = "single"

    def all_gather_object(self, obj: Any) -> list[Any]:
        return [obj]
