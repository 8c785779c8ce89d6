"""Maps numbers to places on a chart, and chooses the round numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One axis; places go from 0 (low) to 1 (high)."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def of(cls, values: Sequence[float], *, log: bool = False, zero: bool = False) -> Scale:
        """Return an axis that shows all of `values`.

        `log` allows a logarithmic one where they span decades; `zero` starts it at 0.
        """
        low, high = min(values), max(values)
        if zero and high > 0 <= low:
            return cls(low=0.0, high=high * 1.08)
        if log and low > 0 and high / low > 100:
            return cls(low=low, high=high, logarithmic=True)
        if low == high:
            margin = abs(low) * 0.1 or 1.0
            return cls(low=low - margin, high=high + margin)
        margin = (high - low) * 0.05
        return cls(low=0.0 if 0 <= low < margin * 4 else low - margin, high=high + margin)

    def place(self, value: float) -> float:
        if self.logarithmic:
            span = math.log(self.high / self.low)
            return math.log(max(value, self.low) / self.low) / span
        return (value - self.low) / (self.high - self.low)

    def ticks(self, about: int = 5) -> list[float]:
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        step = _round_step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)


def smooth(points: Sequence[Point]) -> list[Point]:
    """Return the centred moving average over about a fortieth of the points."""
    reach = max(1, len(points) // 80)
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    found: list[Point] = []
    for index, (x, _) in enumerate(points):
        half = min(reach, index, len(points) - 1 - index)  # as far to the left as to the right
        total = sums[index + half + 1] - sums[index - half]
        found.append((x, total / (2 * half + 1)))
    return found


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """Return about `most` points that look the same: the lowest and highest of each stretch."""
    if len(points) <= most:
        return list(points)
    width = math.ceil(len(points) / (most / 2))
    kept: list[Point] = []
    for start in range(0, len(points), width):
        stretch = points[start : start + width]
        low, high = min(stretch, key=_y), max(stretch, key=_y)
        kept += [low] if low == high else sorted({low, high})
    return kept


def _y(point: Point) -> float:
    return point[1]
