"""Reads the run folder into one value, so that drawing needs no file."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launcher.runs import events, metrics
from launcher.runs.blame import first_failure
from launcher.runs.events import AttemptEnded, AttemptStarted, Event
from launcher.runs.failure import FirstFailure
from launcher.runs.files import read_object
from launcher.runs.ledger import ledger
from launcher.runs.records import newest_attempt, read_plan, read_ranks
from launcher.runs.status import RunState, RunStatus, read_status
from launcher.specs import Plan, RankRecord, RunLayout


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve: points in order of `x`, all finite."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything on the page."""

    status: RunStatus
    made_at: float
    plan: Plan | None
    records: tuple[RankRecord, ...]
    loss: Series
    rate: Series
    lr: Series
    evals: tuple[Series, ...]
    not_finite: int
    """Number of training steps whose loss is missing, NaN or infinite."""
    restarts: tuple[tuple[int, int], ...]
    """Last step before each later attempt, and the number of that attempt."""
    seconds: dict[str, float]
    attempts: tuple[tuple[AttemptStarted, AttemptEnded | None], ...]
    """Start and end of each; no end while it runs, or if its supervisor was killed."""
    events: tuple[Event, ...]
    failure: FirstFailure | None
    config: tuple[tuple[str, str], ...]
    environment: dict[str, Any]
    result: dict[str, Any]


def gather(layout: RunLayout) -> ReportData:
    """Read the run folder."""
    lines = metrics.history(layout)
    steps = metrics.steps(lines)
    history = events.history(layout)
    status = read_status(layout)
    attempt = newest_attempt(layout)
    failed = status.state in (RunState.FAILED, RunState.LOST)
    return ReportData(
        status=status,
        made_at=time.time(),
        plan=read_plan(layout),
        records=tuple(read_ranks(layout, attempt)),
        loss=_series("loss", steps, "loss"),
        rate=_rates(steps),
        lr=_series("learning rate", steps, "lr"),
        evals=_evaluations(metrics.evaluations(lines)),
        not_finite=sum(1 for line in steps if not _finite(line.get("loss"))),
        restarts=_restarts(steps),
        seconds=ledger(layout),
        attempts=_attempts(history),
        events=tuple(history),
        failure=first_failure(layout, attempt) if failed else None,
        config=_config(layout),
        environment=read_object(layout.environment),
        result=read_object(layout.attempt(attempt).result) if attempt else {},
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _series(name: str, lines: Sequence[dict[str, Any]], key: str) -> Series:
    points = [(float(line["step"]), float(line[key])) for line in lines if _finite(line.get(key))]
    return Series(name=name, points=tuple(points))


def _rates(lines: Sequence[dict[str, Any]]) -> Series:
    points = [
        (float(line["step"]), line["samples"] / line["step_time_s"])
        for line in lines
        if _finite(line.get("samples")) and _finite(line.get("step_time_s")) and line["step_time_s"]
    ]
    return Series(name="samples/s", points=tuple(points))


def _evaluations(lines: Sequence[dict[str, Any]]) -> tuple[Series, ...]:
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in dict(line["eval"]).items():
            if _finite(value):
                found.setdefault(name, []).append((float(line["step"]), float(value)))
    return tuple(Series(name=name, points=tuple(points)) for name, points in found.items())


def _restarts(lines: Sequence[dict[str, Any]]) -> tuple[tuple[int, int], ...]:
    found = []
    for before, line in itertools.pairwise(lines):
        if line["attempt"] != before["attempt"]:
            found.append((int(before["step"]), int(line["attempt"])))
    return tuple(found)


def _attempts(history: Sequence[Event]) -> tuple[tuple[AttemptStarted, AttemptEnded | None], ...]:
    ended = {event.attempt: event for event in history if isinstance(event, AttemptEnded)}
    started = (event for event in history if isinstance(event, AttemptStarted))
    return tuple((event, ended.get(event.attempt)) for event in started)


def _config(layout: RunLayout) -> tuple[tuple[str, str], ...]:
    import yaml  # noqa: PLC0415 - only the report needs it

    try:
        value = yaml.safe_load(layout.config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ()
    return tuple(_flatten(value, ""))


def _flatten(value: object, name: str) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [
            row
            for key, item in value.items()
            for row in _flatten(item, f"{name}.{key}" if name else str(key))
        ]
    return [(name, "" if value is None else str(value))]
