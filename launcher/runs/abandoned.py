"""Attempts whose launcher died: nobody wrote down their end, and nobody supervises them."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.runs import events
from launcher.runs.failure import FailureKind, FirstFailure
from launcher.runs.records import newest_attempt
from launcher.runs.supervisor import is_alive, read_supervisor
from launcher.specs import RunLayout

_FOLLOWS = frozenset({FailureKind.TERMINATED, FailureKind.CONNECTION})
"""What happens to ranks whose keepers end them, by clocks that may differ from the launcher's."""


@dataclass(frozen=True, kw_only=True)
class Abandoned:
    """The end of a launcher that could not tell of it."""

    at: float
    """Its last sign of life."""
    name: str
    """`process 123 on host`; empty when a later supervisor took its place."""

    def explains(self, failure: FirstFailure) -> bool:
        """Return whether that failure came of it, instead of being there before."""
        return failure.kind in _FOLLOWS or failure.at > self.at


def abandoned(layout: RunLayout, number: int) -> Abandoned | None:
    """Return how the launcher of attempt `number` was lost, None if it was not."""
    told = events.read(layout.attempt(number).events)
    ends = (events.AttemptEnded, events.RunEnded)
    if not told or any(isinstance(event, ends) for event in told):
        return None
    found = read_supervisor(layout) if number == newest_attempt(layout) else None
    if found is None:
        return Abandoned(at=told[-1].at, name="")
    return None if is_alive(found) else Abandoned(at=found.heartbeat_at, name=found.name)
