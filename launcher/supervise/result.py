"""What is written down at the end of an attempt and of a run."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from launcher import report
from launcher.failures.causes import FirstFailure
from launcher.files import replace
from launcher.runs import metrics
from launcher.runs.records import newest_attempt, read_object
from launcher.runs.time_accounting import seconds_by_phase
from launcher.specs import RunLayout

logger = logging.getLogger(__name__)


def close_attempt(layout: RunLayout) -> None:
    """Put the run's metrics and its report together anew; a full disk must not hide the result."""
    _try("metrics.jsonl", lambda: metrics.merge(layout))
    _try("report.html", lambda: report.write(layout))


def close_run(layout: RunLayout, outcome: Outcome) -> None:
    """Write `result.json`, and the report once more, which shows it."""
    value = {
        "run_id": outcome.run_id,
        "state": str(outcome.state),
        "attempts": outcome.attempts,
        "exit_code": outcome.exit_code,
        "steps": outcome.steps,
        "committed_step": outcome.committed_step,
        "result": outcome.result,
        "seconds": outcome.seconds,
        "first_failure": dataclasses.asdict(outcome.first_failure)
        if outcome.first_failure
        else None,
        "at": time.time(),
    }
    _try("result.json", lambda: replace(layout.result, json.dumps(value, indent=2)))
    close_attempt(layout)


def finished(layout: RunLayout) -> Outcome | None:
    """Return how the run ended if it is done, as `result.json` has it; else None.

    A later attempt without a result of its own, of a run made longer or started over, was killed.
    """
    found = read_object(layout.result)
    numbers = {name: each for name, each in found.items() if isinstance(each, int)}
    if found.get("state") != OutcomeState.DONE:
        return None
    if numbers.get("attempts", 0) < newest_attempt(layout):
        return None
    return Outcome(
        run_id=layout.run_id,
        state=OutcomeState.DONE,
        exit_code=0,
        attempts=numbers.get("attempts", 0),
        steps=numbers.get("steps", 0),
        committed_step=numbers.get("committed_step"),
        result=_mapping(found.get("result")),
        seconds=_mapping(found.get("seconds")),
    )


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def program_result(layout: RunLayout, attempt: int) -> dict[str, object]:
    """Return what the program gave to `ctx.finish` in this attempt."""
    return read_object(layout.attempt(attempt).result)


def seconds(layout: RunLayout) -> dict[str, float]:
    """Return where the time went, rounded to what matters."""
    return {name: round(value, 3) for name, value in seconds_by_phase(layout).items()}


def _try(name: str, write: Callable[[], object]) -> None:
    try:
        write()
    except Exception as error:  # the run's own end counts for more than its picture
        logger.warning("cannot write `%s`: %s", name, error, exc_info=True)


# How a run ended.
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
