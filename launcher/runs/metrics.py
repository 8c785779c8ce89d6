"""The numbers that rank 0 writes at every step: their history over all attempts, and their pace."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from launcher import files
from launcher.runs.records import attempts, read_lines
from launcher.specs import RunLayout

_WINDOW_S = 60.0


def history(layout: RunLayout) -> list[dict[str, Any]]:
    """Return one line per step and evaluation, in order, from the newest attempt that did it.

    Each line has the `attempt` that it is from.
    """
    kept: dict[tuple[int, bool], dict[str, Any]] = {}
    for number in attempts(layout):
        for line in read_lines(layout.attempt(number).metrics):
            if isinstance(line.get("step"), int):
                kept[line["step"], "eval" in line] = {**line, "attempt": number}
    return [kept[key] for key in sorted(kept)]


def merge(layout: RunLayout) -> None:
    """Replace the run's `metrics.jsonl` by the history. Only the supervisor may call this."""
    lines = "".join(json.dumps(line) + "\n" for line in history(layout))
    files.replace(layout.metrics, lines)


def steps(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the training steps among `lines`."""
    return [line for line in lines if "eval" not in line]


def evaluations(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the evaluations among `lines`."""
    return [line for line in lines if "eval" in line]


def step_times(layout: RunLayout, attempt: int) -> tuple[tuple[float, int], ...]:
    """Return when rank 0 ended each step of an attempt: seconds since the epoch, and the step."""
    return tuple(
        (line["at"], line["step"])
        for line in steps(read_lines(layout.attempt(attempt).metrics))
        if isinstance(line.get("at"), float) and isinstance(line.get("step"), int)
    )


@dataclass(frozen=True, kw_only=True)
class Pace:
    """When the run reached its latest steps, by any one clock, and what that clock shows now."""

    points: tuple[tuple[float, int], ...] = ()
    now: float = 0.0

    def at(self, step: int, now: float) -> Pace:
        """Return the pace of a run that is at `step` now."""
        if step <= 0 or (self.points and step == self.points[-1][1]):
            return replace(self, now=now)  # the start-up is not part of the first step
        return Pace(points=(*self._recent(now), (now, step)), now=now)

    def left_s(self, step: int, total: int) -> float | None:
        """Return the seconds until step `total`, None if unknown.

        Only the last minute counts, so that a run that gets slower is noticed.
        """
        points = self._recent(self.points[-1][0]) if self.points else ()
        if total <= 0 or len(points) < 2:
            return None
        (first_at, first), (last_at, last) = points[0], points[-1]
        if last <= first or last_at <= first_at:
            return None
        per_step = (last_at - first_at) / (last - first)
        return max(0.0, (total - step) * per_step - max(0.0, self.now - last_at))

    def _recent(self, now: float) -> tuple[tuple[float, int], ...]:
        """Return the points of the last minute, but at least the last two."""
        recent = tuple(point for point in self.points if now - point[0] <= _WINDOW_S)
        return recent if len(recent) >= 2 else self.points[-2:]
