"""The curves of a run, from the lines of its metrics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve: points in order of `x`, all finite."""

    name: str
    points: tuple[tuple[float, float], ...]


def is_finite(value: object) -> bool:
    """Return whether `value` is a number, and neither NaN nor infinite."""
    return isinstance(value, int | float) and math.isfinite(value)


def values(name: str, steps: Sequence[Line], key: str) -> Series:
    """Return what the training steps have as `key`, without NaN and infinity."""
    points = [(float(line["step"]), float(line[key])) for line in steps if is_finite(line.get(key))]
    return Series(name=name, points=tuple(points))


def rates(steps: Sequence[Line]) -> Series:
    """Return samples per second, over all ranks."""
    points = [
        (float(line["step"]), line["samples"] / line["step_time_s"])
        for line in steps
        if is_finite(line.get("samples")) and is_finite(line.get("step_time_s"))
        if line["step_time_s"]
    ]
    return Series(name="samples/s", points=tuple(points))


def evaluations(lines: Sequence[Line]) -> list[Series]:
    """Return a series for each metric of the evaluations."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in dict(line["eval"]).items():
            if is_finite(value):
                found.setdefault(name, []).append((float(line["step"]), float(value)))
    return [Series(name=name, points=tuple(points)) for name, points in found.items()]


def restarts(steps: Sequence[Line]) -> list[tuple[int, int]]:
    """Return the last step before each later attempt, and the number of that attempt."""
    return [
        (int(before["step"]), int(line["attempt"]))
        for before, line in itertools.pairwise(steps)
        if line["attempt"] != before["attempt"]
    ]
