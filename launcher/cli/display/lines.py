"""Plain lines for files, pipes and batch systems: a line of progress every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from launcher import units
from launcher.cli.display.items import ItemView
from launcher.cli.display.view import RunView


class LineSurface:
    """Prints; repeats itself at most every `every_s`, and never without something new."""

    def __init__(
        self,
        write: Callable[[str], None] = lambda line: print(line, flush=True),
        *,
        every_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._every_s = every_s
        self._clock = clock
        self._next = clock() + every_s
        self._last = ""

    def say(self, text: str, style: str = "") -> None:
        del style
        self._write(text)

    def staging(self, items: Sequence[ItemView]) -> None:
        if items and self._is_time():
            self._once(" | ".join(_item(item) for item in items))

    def training(self, view: RunView) -> None:
        if self._is_time():
            self._once(_progress(view))

    def close(self) -> None:
        self._last = ""

    def _is_time(self) -> bool:
        now = self._clock()
        due = now >= self._next
        if due:
            self._next = now + self._every_s
        return due

    def _once(self, line: str) -> None:
        if line != self._last:
            self._last = line
            self._write(line)


def _item(item: ItemView) -> str:
    done = units.size(item.done) if item.unit == "B" else f"{item.done:,} {item.unit}"
    if item.total:
        whole = units.size(item.total) if item.unit == "B" else f"{item.total:,}"
        done = f"{done} of {whole}"
    rate = item.per_second
    speed = f", {units.bandwidth(rate)}" if rate and item.unit == "B" else ""
    left = f", {units.clock(item.left_s)} left" if item.left_s is not None else ""
    return f"staging {item.name}: {done}{speed}{left}"


def _progress(view: RunView) -> str:
    if not view.step:
        states = ", ".join(dict.fromkeys(row.state for row in view.nodes))
        return f"nodes: {states}"
    total = f"/{view.total_steps}" if view.total_steps else ""
    parts = [f"step {view.step}{total}"]
    if view.loss is not None:
        parts.append(f"loss {units.loss(view.loss)}")
    if view.samples_per_s is not None:
        parts.append(f"{units.rate(view.samples_per_s)} samples/s")
    if view.left_s is not None:
        parts.append(f"{units.clock(view.left_s)} left")
    if view.committed_step is not None:
        parts.append(f"saved at {view.committed_step}")
    phases = dict.fromkeys(row.state for row in view.nodes)
    return "  ".join([*parts, f"[{', '.join(phases)}]"])
