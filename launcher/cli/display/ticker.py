"""A status again and again: one block that is drawn over, or a line when something changed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class Ticker:
    """Shows a text that changes. `block` is for a terminal, `line` for everything else."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    _on_screen: int = 0
    _last: str = ""

    def show(self, *, block: str, line: str) -> None:
        """Show the newest; the same line is not told twice."""
        if self.out.isatty():
            # Back to where the last one began, and clear from there.
            up = f"\033[{self._on_screen}F\033[J" if self._on_screen else ""
            self._say(up + block)
            self._on_screen = block.count("\n") + 1
        elif line != self._last:
            self._say(line)
            self._last = line

    def say(self, text: str) -> None:
        """Show a line that stays; the block begins anew below it."""
        self._on_screen = 0
        self._say(text)

    def _say(self, text: str) -> None:
        print(text, file=self.out, flush=True)
