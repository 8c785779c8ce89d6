"""Where a run is drawn: the extension point between what is told and how it looks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from launcher.cli.display.items import ItemView
from launcher.cli.display.view import RunView


class Surface(Protocol):
    """Takes views and lines, and decides itself how often it draws: it may be told at any rate.

    Views are whole: a surface that misses one loses nothing. Lines are not: each is shown once.
    """

    def say(self, text: str, style: str = "") -> None:
        """Show a line, above whatever is drawn. `style` is one of `dim`, `bold`, `good`, `bad`."""
        ...

    def staging(self, items: Sequence[ItemView]) -> None:
        """Draw what is on its way."""
        ...

    def training(self, view: RunView) -> None:
        """Draw the run."""
        ...

    def close(self) -> None:
        """Draw nothing any more; lines may follow."""
        ...


def open_surface() -> Surface:
    """Return the surface that fits stdout."""
    if sys.stdout.isatty():
        from launcher.cli.display.live import LiveSurface

        return LiveSurface()
    from launcher.cli.display.lines import LineSurface

    return LineSurface()
