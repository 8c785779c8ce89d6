"""Where a run is drawn: the extension point between what is known of a run and how it looks."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from launcher.runs import RunStatus

_WINDOW_S = 10.0


@dataclass
class StagingProgress:
    """How much of one item is staged. Staging's reporting thread writes it, drawing reads it."""

    name: str
    uri: str
    total: int | None
    began: float
    done: int = 0
    unit: str = "B"
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, done: int, now: float) -> None:
        """Record that `done` units are there now."""
        self.done = done
        self._recent.append((now, done))
        while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()

    @property
    def per_second(self) -> float | None:
        """Rate over the last seconds."""
        if len(self._recent) < 2:
            return None
        (first_at, first), (last_at, last) = self._recent[0], self._recent[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None

    @property
    def left_s(self) -> float | None:
        """Seconds until it is there, None if unknown."""
        rate = self.per_second
        return None if not rate or not self.total else max(0, self.total - self.done) / rate


class Surface(Protocol):
    """Shows a run, and decides itself how often it draws: it may be called at any rate.

    Each status is complete: a surface that skips one loses nothing. Each line is shown once. A
    surface whose reader is gone (a closed pipe or terminal) shows nothing more: the run continues.
    """

    def say(self, text: str, style: str = "") -> None:
        """Show a line, above what is drawn. `style` is `dim`, `bold`, `good`, `bad` or `note`."""
        ...

    def echo(self, text: str) -> None:
        """Show output of the user's program as it is: one or more lines, maybe very many."""
        ...

    def staging(self, items: Sequence[StagingProgress]) -> None:
        """Draw the items that are being staged."""
        ...

    def training(self, status: RunStatus) -> None:
        """Draw the run."""
        ...

    def close(self) -> None:
        """Stop drawing; lines may follow."""
        ...


def open_surface() -> Surface:
    """Return the surface that fits stdout."""
    if sys.stdout.isatty():
        from launcher.cli.display.live import LiveSurface

        return LiveSurface()
    from launcher.cli.display.lines import LineSurface

    return LineSurface()
