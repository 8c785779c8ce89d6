"""Plain lines for files, pipes and batch systems."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from launcher import units
from launcher.cli import printing
from launcher.cli.display.status import progress, state_of
from launcher.cli.display.surface import StagingProgress
from launcher.runs import RunStatus


class LineSurface:
    """Prints lines; progress at most every `every_s`, and only if it changed."""

    def __init__(
        self,
        write: Callable[[str], None] = lambda text: printing.raw(text, flush=True),
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
        self._show(printing.printable(text))

    def echo(self, text: str) -> None:
        self._show(text)

    def staging(self, items: Sequence[StagingProgress]) -> None:
        if items and self._is_time():
            self._once(" | ".join(_item(item) for item in items))

    def training(self, status: RunStatus) -> None:
        if self._is_time():
            self._once(_run(status))

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
            self._show(printing.printable(line))

    def _show(self, text: str) -> None:
        with printing.lasting():
            self._write(text)


def _item(item: StagingProgress) -> str:
    done = units.size(item.done) if item.unit == "B" else f"{item.done:,} {item.unit}"
    if item.total:
        whole = units.size(item.total) if item.unit == "B" else f"{item.total:,}"
        done = f"{done} of {whole}"
    rate = item.per_second
    speed = f", {units.bandwidth(rate)}" if rate and item.unit == "B" else ""
    left = f", {units.clock(item.left_s)} left" if item.left_s is not None else ""
    return f"staging {item.name}: {done}{speed}{left}"


def _run(status: RunStatus) -> str:
    states = ", ".join(dict.fromkeys(state_of(node) for node in status.nodes))
    parts = progress(status)
    return "  ".join([*parts.values(), f"[{states}]"]) if parts else f"nodes: {states}"
