"""The data of a chart. The template draws it as SVG with HTML labels beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from launcher import units
from launcher.report.scale import Point, Scale, smooth, thin
from launcher.report.series import Series

_MOST_POINTS = 900
_HOVER_POINTS = 400
_MOST_DOTS = 60
_SHOWN_S = 0.05
"""A shorter time rounds to 0.0 s and is left out."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One curve over steps. Places are in percent of the box, from its upper left corner."""

    name: str
    colour: str
    xs: Scale
    ys: Scale
    points: Sequence[Point]
    average: bool
    """Draw the points faintly and their moving average on top."""
    dots: bool
    """Mark every point, where there are few."""
    restarts: Sequence[tuple[int, int]]
    """Step at which an attempt resumes, and its number."""

    def left(self, x: float) -> str:
        return f"{self.xs.place(x) * 100:.2f}"

    def top(self, y: float) -> str:
        return f"{(1 - self.ys.place(y)) * 100:.2f}"

    @property
    def steps(self) -> list[float]:
        """Ticks of the axis of steps."""
        return [tick for tick in self.xs.ticks() if tick == int(tick)] or [
            self.xs.low,
            self.xs.high,
        ]

    @property
    def lines(self) -> Iterator[tuple[str, str]]:
        """Class and path of each line."""
        averaged = self.average and len(self.points) > 20
        if averaged:
            yield "faint", self._path(self.points)
        yield "line", self._path(smooth(self.points) if averaged else self.points)

    def _path(self, points: Sequence[Point]) -> str:
        return " ".join(f"{self.left(x)},{self.top(y)}" for x, y in thin(points, _MOST_POINTS))

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Place and text of each restart."""
        places = [
            (self.xs.place(step) * 100, f"attempt {number}") for step, number in self.restarts
        ]
        return [(place, text) for place, text in places if 0 <= place <= 100]

    @property
    def dotted(self) -> Sequence[Point]:
        return self.points if self.dots and len(self.points) <= _MOST_DOTS else ()

    @property
    def hover(self) -> str:
        """The points that the cursor finds, as JSON: two places from 0 to 1, and a text."""
        found = [
            [
                round(self.xs.place(x), 4),
                round(1 - self.ys.place(y), 4),
                f"step {units.number(x)}: {units.number(y)}",
            ]
            for x, y in thin(self.points, _HOVER_POINTS)
        ]
        return json.dumps(found, separators=(",", ":"))


def curve(
    series: Series,
    colour: str,
    restarts: Sequence[tuple[int, int]] = (),
    *,
    axis: Literal["", "log", "zero"] = "",
    average: bool = False,
    dots: bool = False,
) -> Chart | None:
    """Return the chart of a series; None without points."""
    points = series.points
    if not points:
        return None
    return Chart(
        name=series.name,
        colour=colour,
        xs=Scale(low=points[0][0], high=max(points[-1][0], points[0][0] + 1)),
        ys=Scale.of([y for _, y in points], log=axis == "log", zero=axis == "zero"),
        points=points,
        average=average,
        dots=dots,
        restarts=restarts,
    )


PHASES: Mapping[str, tuple[str, str]] = {
    "preflight": ("preflight", "other"),
    "stage": ("staging", "stage"),
    "start": ("starting", "start"),
    "load": ("loading", "load"),
    "restore": ("restoring", "restore"),
    "train": ("training", "train"),
    "program": ("program", "train"),
    "eval": ("evaluating", "eval"),
    "save": ("saving", "save"),
    "other": ("other", "other"),
    "end": ("exiting", "end"),
    "lost": ("lost work", "lost"),
}
"""Label and colour of each phase."""


def time_bar(seconds: Mapping[str, float]) -> list[tuple[str, str, str, float, float]]:
    """Return name, label, colour, seconds and share of each phase that took time."""
    shown = {name: value for name, value in seconds.items() if value >= _SHOWN_S}
    total = sum(shown.values())
    return [
        (name, *PHASES.get(name, (name, "other")), value, value / total)
        for name, value in shown.items()
    ]
