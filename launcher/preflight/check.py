"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from launcher.nodes.config import PreflightConfig
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import Plan, RunLayout


class Moment(Enum):
    """When a check makes sense."""

    BEFORE_STAGING = "before staging"
    BEFORE_START = "before start"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked."""

    plan: Plan
    layout: RunLayout
    config: PreflightConfig
    commands: CommandLine = ANYWHERE


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that would keep the run from working."""

    what: str
    """What is wrong, with the name or path it is about."""
    hint: str
    """What to do, ideally the command."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One small question, asked in parallel with all others; must not need another's answer."""

    name: str
    moments: frozenset[Moment]
    ask: Callable[[Subject], Trouble | None]
    """Returns None when all is well. An exception it raises counts as trouble of its own."""
    of_nodes: bool = False
    """It looks at this machine as the node that it is; other machines were asked by `look`."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found and how long it took."""

    name: str
    trouble: Trouble | None
    seconds: float
