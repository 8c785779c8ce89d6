"""How a run ended, and the files that are written then."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from launcher import report
from launcher.failures.causes import FirstFailure
from launcher.files import replace
from launcher.runs import metrics
from launcher.runs.records import newest_attempt, read_object
from launcher.runs.time_accounting import seconds_by_phase
from launcher.specs import RunLayout
from launcher.supervise.verdict import Verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What `supervise.run` returns. The run's `result.json` has the same values."""

    run_id: str
    state: Verdict
    exit_code: int
    """0 done, 75 saved, 130 stopped, 5 or 76 failed."""
    attempts: int
    """Number of the last attempt."""
    steps: int
    committed_step: int | None
    """Step of the newest durable checkpoint: the next start would resume from it."""
    result: dict[str, Any] = field(default_factory=dict)
    """What the program passed to `ctx.finish`; empty if it did not call it."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Where the time went, over all attempts: `stage`, `start`, `train`, `lost` ..."""
    requeued: bool = False
    """Whether the batch system will start it again."""
    next_start: str = ""
    """What starts it again, or why nothing does, in one sentence; empty outside a batch job."""
    first_failure: FirstFailure | None = None


def finished(layout: RunLayout) -> RunResult | None:
    """Return how the run ended according to `result.json` if it is done, else None.

    A later attempt without a result was killed; it belongs to a run that was made longer, or
    started over.
    """
    found = read_object(layout.result)
    numbers = {name: each for name, each in found.items() if isinstance(each, int)}
    attempts = numbers.get("attempts", 0)
    if found.get("state") != Verdict.DONE or attempts < newest_attempt(layout):
        return None
    return RunResult(
        run_id=layout.run_id,
        state=Verdict.DONE,
        exit_code=0,
        attempts=attempts,
        steps=numbers.get("steps", 0),
        committed_step=numbers.get("committed_step"),
        result=_mapping(found.get("result")),
        seconds=_mapping(found.get("seconds")),
    )


def program_result(layout: RunLayout, attempt: int) -> dict[str, Any]:
    """Return what the program passed to `ctx.finish` in this attempt."""
    return read_object(layout.attempt(attempt).result)


def seconds(layout: RunLayout) -> dict[str, float]:
    """Return where the time went, in seconds with 3 digits."""
    return {name: round(value, 3) for name, value in seconds_by_phase(layout).items()}


def close_attempt(layout: RunLayout) -> None:
    """Write the run's metrics and its report. A full disk must not hide how the run ended."""
    _try("metrics.jsonl", lambda: metrics.merge(layout))
    _try("report.html", lambda: report.write(layout))


def close_run(layout: RunLayout, run: RunResult) -> None:
    """Write `result.json`, and then the report, which shows it."""
    value = {
        "run_id": run.run_id,
        "state": str(run.state),
        "attempts": run.attempts,
        "exit_code": run.exit_code,
        "steps": run.steps,
        "committed_step": run.committed_step,
        "result": run.result,
        "seconds": run.seconds,
        "first_failure": dataclasses.asdict(run.first_failure) if run.first_failure else None,
        "at": time.time(),
    }
    _try("result.json", lambda: replace(layout.result, json.dumps(value, indent=2)))
    close_attempt(layout)


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _try(name: str, write: Callable[[], object]) -> None:
    try:
        write()
    except Exception as error:
        logger.warning("cannot write `%s`: %s", name, error, exc_info=True)
