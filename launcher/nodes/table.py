"""A table of nodes and checks that shows the unusual cells clearly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from launcher import units

_MOST_ROWS = 32


class Mark(StrEnum):
    """How good a cell is."""

    GOOD = "good"
    ODD = "odd"
    """Worth knowing; the run can start."""
    BAD = "bad"
    """The node cannot be used."""


_SIGNS = {Mark.GOOD: "", Mark.ODD: "? ", Mark.BAD: "! "}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The result of one check on one node."""

    text: str
    mark: Mark = Mark.GOOD
    what: str = ""
    """A sentence that follows the name of the node; empty for a good cell."""
    hint: str = ""

    @property
    def signed(self) -> str:
        """The text after a sign that needs no color."""
        return _SIGNS[self.mark] + self.text


@dataclass(frozen=True, kw_only=True)
class HealthRow:
    """The cells of one node, by the name of the check; a check that was skipped has none."""

    node: str
    cells: Mapping[str, Cell]

    @property
    def bad(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells.values() if cell.mark is Mark.BAD)

    @property
    def odd(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells.values() if cell.mark is Mark.ODD)

    @property
    def reason(self) -> str:
        """Why the node cannot be used, in one line; empty if it can."""
        return "; ".join(cell.what for cell in self.bad)


@dataclass(frozen=True, kw_only=True)
class HealthTable:
    """The results of all checks on all nodes."""

    rows: tuple[HealthRow, ...]

    @property
    def bad_nodes(self) -> tuple[str, ...]:
        return tuple(row.node for row in self.rows if row.bad)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the checks of any node, in their order."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.cells))

    def remarkable(self) -> tuple[str, ...]:
        """Return the columns with a cell that is not good."""
        return tuple(name for name in self.columns if any(_noted(row, name) for row in self.rows))

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for each odd cell, after the names of the nodes that share it."""
        return tuple(f"{nodes}: {cell.what}" for nodes, cell in self._sentences(Mark.ODD))

    def render(self, columns: Sequence[str] | None = None) -> str:
        """Return the table as plain text, followed by what each bad cell means."""
        lines = units.columns(self._shown(self.columns if columns is None else columns))
        hidden = len(self.rows) - _MOST_ROWS
        lines += [f"... and {hidden} more nodes"] if hidden > 0 else []
        return "\n".join([*lines, *self.explanations()])

    def explanations(self) -> Iterator[str]:
        """Yield what each bad cell means and what to do, once for the nodes that share it."""
        for nodes, cell in self._sentences(Mark.BAD):
            yield f"{nodes}: {cell.what}"
            if cell.hint:
                yield f"  -> {cell.hint}"

    def _sentences(self, mark: Mark) -> list[tuple[str, Cell]]:
        by_cell: dict[Cell, list[str]] = {}
        for name in self.columns:
            for row in self.rows:
                cell = row.cells.get(name)
                if cell is not None and cell.mark is mark:
                    by_cell.setdefault(cell, []).append(row.node)
        return [(", ".join(nodes), cell) for cell, nodes in by_cell.items()]

    def _shown(self, columns: Sequence[str]) -> list[list[str]]:
        rows = sorted(self.rows, key=lambda row: not row.bad) if self._long else self.rows
        texts = [
            [row.node, *(row.cells[name].signed if name in row.cells else "-" for name in columns)]
            for row in rows[:_MOST_ROWS]
        ]
        return [["node", *columns], *texts]

    @property
    def _long(self) -> bool:
        return len(self.rows) > _MOST_ROWS


def _noted(row: HealthRow, column: str) -> bool:
    return column in row.cells and row.cells[column].mark is not Mark.GOOD
