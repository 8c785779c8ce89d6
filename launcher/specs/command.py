"""What is executed: an argv, never a shell string."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Program:
    """What every rank runs: a recipe of ours or any script of the user's."""

    path: str
    """Absolute path of a Python file."""
    args: tuple[str, ...] = ()
    recipe: str = "script"
    """Name of the recipe it belongs to."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One argv that a transport starts on one node."""

    node_rank: int
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    """Variables set on top of the inherited environment. Never holds a secret."""
    cwd: str
