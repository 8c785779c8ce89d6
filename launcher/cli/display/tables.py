"""Tables. A terminal folds what does not fit; elsewhere every row is one whole line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Collection

from rich.console import Console
from rich.table import Table
from rich.text import Text

from launcher.cli import printing

_WIDE = 100_000
"""Columns of a page that nothing has to be folded for."""
_USUAL = 80
"""Columns of a terminal that does not say how many it has."""


def table(*titles: str, right: Collection[str] = ()) -> Table:
    """Return an empty table; the columns named in `right` are aligned to the right."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        made.add_column(Text(title), justify="right" if title in right else "left", overflow="fold")
    return made


def add(to: Table, *cells: object) -> None:
    """Add a row. Brackets in its cells do not become markup, nor escape codes commands."""
    to.add_row(
        *(
            Text(printing.printable(cell.plain), style=cell.style)
            if isinstance(cell, Text)
            else Text(printing.printable(str(cell)))
            for cell in cells
        )
    )


def terminal() -> Console:
    """Return stdout for drawing. A terminal that says it has no columns has an unknown number."""
    unknown = os.environ.get("COLUMNS", "").strip() == "0"
    return Console(highlight=False, width=_USUAL if unknown else None)


def plain(of: Table) -> str:
    """Return the table as text without colors, a line for each row."""
    out = io.StringIO()
    console = Console(file=out, width=_WIDE, force_terminal=False, color_system=None)
    console.print(of)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def show(what: Table) -> None:
    """Print the table, in color and folded to the width where stdout is a terminal."""
    if sys.stdout.isatty():
        terminal().print(what)
    else:
        printing.out(plain(what))
