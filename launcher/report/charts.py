"""Charts as HTML with inline SVG.

Lines are drawn in an SVG that stretches with its box; labels are HTML beside it, so that they keep
their size on a telephone as on a wall.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from launcher.report.gather import Series
from launcher.report.scale import Point, Scale, duration, number, smooth, thin

_MOST_POINTS = 900
_HOVER_POINTS = 400
_SIZE = 1000.0
_SHOWN_S = 0.05
"""Less than this rounds to nothing and is left out."""

BUCKETS: Mapping[str, str] = {
    "preflight": "--c-other",
    "stage": "--c-stage",
    "start": "--c-start",
    "load": "--c-load",
    "restore": "--c-restore",
    "train": "--c-train",
    "program": "--c-train",
    "eval": "--c-eval",
    "save": "--c-save",
    "other": "--c-other",
    "end": "--c-end",
    "lost": "--c-lost",
}


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a curve is drawn."""

    colour: str
    dots: bool = False
    """Mark every point, where there are few."""
    average: bool = False
    """Draw the points faintly and their moving average on top."""
    log: bool = False
    zero: bool = False


def curve(series: Series, style: Style, restarts: Sequence[tuple[int, int]] = ()) -> str:
    """Draw one series over steps, with a mark where another attempt went on."""
    if not series.points:
        return '<p class="none">nothing was measured</p>'
    points = list(series.points)
    xs = Scale(low=points[0][0], high=max(points[-1][0], points[0][0] + 1))
    ys = Scale.of([y for _, y in points], log=style.log, zero=style.zero)
    smoothed = smooth(points) if style.average and len(points) > 20 else points
    lines = []
    if smoothed is not points:
        lines.append(_path(thin(points, _MOST_POINTS), xs, ys, "faint"))
    lines.append(_path(thin(smoothed, _MOST_POINTS), xs, ys, "line"))
    marks = [(step, f"attempt {attempt}") for step, attempt in restarts]
    hover = _hover(thin(points, _HOVER_POINTS), xs, ys)
    return (
        f'<div class="chart" style="--colour:var({style.colour})" data-points=\'{escape(hover)}\' '
        f'data-name="{escape(series.name)}">'
        f'<div class="ys">{_y_labels(ys)}</div><div class="area">'
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(series.name)} over steps">{_grid(ys)}{"".join(lines)}</svg>'
        f"{_marks(marks, xs)}{_dots(points, xs, ys) if style.dots else ''}"
        f'<i class="cursor"></i><b class="tip"></b></div>'
        f'<div class="xs">{_x_labels(xs)}</div></div>'
    )


def time_bar(seconds: Mapping[str, float]) -> str:
    """Draw where the time went as one bar and its legend."""
    seconds = {name: value for name, value in seconds.items() if value >= _SHOWN_S}
    total = sum(seconds.values())
    if total <= 0:
        return '<p class="none">no attempt has ended yet</p>'
    parts = [
        f'<i style="flex-grow:{value / total:.6f};background:var({_colour(name)})" '
        f'title="{escape(name)}: {duration(value)}"></i>'
        for name, value in seconds.items()
    ]
    rows = [
        f'<li><i style="background:var({_colour(name)})"></i><span>{escape(LABELS.get(name, name))}'
        f"</span><b>{duration(value)}</b><em>{value / total:.1%}</em></li>"
        for name, value in seconds.items()
    ]
    return f'<div class="bar">{"".join(parts)}</div><ul class="legend">{"".join(rows)}</ul>'


LABELS: Mapping[str, str] = {
    "stage": "staging",
    "start": "starting",
    "load": "loading",
    "restore": "restoring",
    "train": "training",
    "eval": "evaluating",
    "save": "saving",
    "lost": "lost work",
    "end": "leaving",
}


def _colour(name: str) -> str:
    return BUCKETS.get(name, "--c-other")


def _path(points: Sequence[Point], xs: Scale, ys: Scale, kind: str) -> str:
    places = [f"{xs.place(x) * _SIZE:.1f},{(1 - ys.place(y)) * _SIZE:.1f}" for x, y in points]
    return f'<polyline class="{kind}" points="{" ".join(places)}"/>'


def _grid(ys: Scale) -> str:
    heights = [(1 - ys.place(tick)) * _SIZE for tick in ys.ticks()]
    return "".join(f'<line x1="0" x2="1000" y1="{y:.1f}" y2="{y:.1f}"/>' for y in heights)


def _y_labels(ys: Scale) -> str:
    return "".join(
        f'<span style="top:{(1 - ys.place(tick)) * 100:.2f}%">{number(tick)}</span>'
        for tick in ys.ticks()
    )


def _x_labels(xs: Scale) -> str:
    ticks = [tick for tick in xs.ticks() if tick == int(tick)] or [xs.low, xs.high]
    return "".join(
        f'<span style="left:{xs.place(tick) * 100:.2f}%">{number(tick)}</span>' for tick in ticks
    )


def _marks(marks: Sequence[tuple[float, str]], xs: Scale) -> str:
    places = [(xs.place(step) * 100, label) for step, label in marks]
    return "".join(
        f'<u style="left:{place:.2f}%" class="{"left" if place > 80 else ""}">'
        f"<span>{escape(label)}</span></u>"
        for place, label in places
        if 0 <= place <= 100
    )


def _dots(points: Sequence[Point], xs: Scale, ys: Scale) -> str:
    if len(points) > 60:
        return ""
    return "".join(
        f'<s style="left:{xs.place(x) * 100:.2f}%;top:{(1 - ys.place(y)) * 100:.2f}%"></s>'
        for x, y in points
    )


def _hover(points: Sequence[Point], xs: Scale, ys: Scale) -> str:
    """Place and text of the points that the cursor finds."""
    found = [
        [round(xs.place(x), 4), round(1 - ys.place(y), 4), f"step {number(x)}: {number(y)}"]
        for x, y in points
    ]
    return json.dumps(found, separators=(",", ":"))
