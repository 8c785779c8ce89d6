"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from launcher.runs.failure import FirstFailure


class OutcomeState(StrEnum):
    """The four ways in which the supervisor leaves a run."""

    DONE = "done"
    SAVED = "saved"
    """Preempted: it wants to be started again."""
    STOPPED = "stopped"
    """A person stopped it."""
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What `supervise.run` returns; the same values stand in the run's `result.json`."""

    run_id: str
    state: OutcomeState
    exit_code: int
    """0 done, 75 saved, 130 stopped, 5 or 76 failed."""
    attempts: int
    """Number of the last attempt."""
    steps: int
    committed_step: int | None
    """Newest durable step, from which starting the run again would go on."""
    result: dict[str, Any] = field(default_factory=dict)
    """What the program gave to `ctx.finish`; empty if it did not."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Where the time went, over all attempts: `stage`, `start`, `train`, `lost` ..."""
    requeued: bool = False
    """The batch system was asked to start it again, and will."""
    next_start: str = ""
    """Who starts it again, or why nobody does, in one sentence; empty when nobody was asked."""
    first_failure: FirstFailure | None = None
    why: str = ""
    """The incident report, when it failed."""
