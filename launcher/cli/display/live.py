"""A terminal: bars while staging, a table while training, and lines above."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from launcher import units
from launcher.cli import printing
from launcher.cli.display import tables
from launcher.cli.display.status import progress, ranks_of, state_of
from launcher.cli.display.surface import StagingProgress
from launcher.runs import NodeStatus, RunStatus

_STYLES = {"dim": "dim", "bold": "bold", "good": "bold green", "bad": "bold red", "note": "yellow"}
_PARTS = {"step": "bold", "left": "", "rate": "cyan", "saved": "green"}
"""Parts of the progress below the table, and their styles; the table shows the loss."""
_STATES = {"failed": "bold red", "done": "green", "saved": "green", "waiting": "dim"}
_MAX_NODES = 16
"""More rows would leave no room for the lines above."""


class LiveSurface:
    """Draws with rich, in a thread, a few times a second."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or tables.terminal()
        self._live: Live | None = None

    def say(self, text: str, style: str = "") -> None:
        # Text, not markup: a message may contain brackets.
        self._print(Text(printing.printable(text), style=_STYLES.get(style, "")))

    def echo(self, text: str) -> None:
        # Segments are written as they are, and fast: a program may print megabytes.
        self._print(Segments([Segment(text), Segment.line()]))

    def staging(self, items: Sequence[StagingProgress]) -> None:
        self._draw(_bars(list(items), self._console.width))

    def training(self, status: RunStatus) -> None:
        self._draw(_run(status, self._console.width))

    def close(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            with printing.lasting():
                live.stop()

    def _print(self, content: RenderableType) -> None:
        with printing.lasting():
            self._console.print(content, soft_wrap=True)

    def _draw(self, content: RenderableType) -> None:
        with printing.lasting():
            if self._live is None:
                self._live = Live(
                    content, console=self._console, refresh_per_second=4, transient=True
                )
                self._live.start(refresh=True)
            else:
                self._live.update(content)


def _bars(items: list[StagingProgress], width: int) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right", style="cyan")
    table.add_column(justify="right", style="dim")
    for item in items:
        bar = ProgressBar(
            total=item.total or 100,
            completed=item.done if item.total else 0,
            pulse=not item.total,
            width=max(10, min(40, width - 52)),
        )
        rate = item.per_second
        table.add_row(
            Text(f"  {printing.printable(item.name)}"),
            bar,
            _amount(item),
            units.bandwidth(rate) if rate and item.unit == "B" else "",
            f"{units.clock(item.left_s)} left" if item.left_s is not None else "",
        )
    return table


def _amount(item: StagingProgress) -> str:
    if not item.done and not item.total:
        return ""
    if item.unit == "B":
        done = units.size(item.done)
        return f"{done} of {units.size(item.total)}" if item.total else done
    return (
        f"{item.done:,}/{item.total:,} {item.unit}" if item.total else f"{item.done:,} {item.unit}"
    )


def _run(status: RunStatus, width: int) -> RenderableType:
    return Group(Text(""), _nodes(status), Text(""), _overall(status, width))


def _nodes(status: RunStatus) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("  node")
    table.add_column("role")
    for title in ("ranks", "state", "step", "loss", "samples/s"):
        table.add_column(title, justify="left" if title == "state" else "right")
    shown = status.nodes[:_MAX_NODES]
    for node in shown:
        table.add_row(*_cells(node))
    if len(status.nodes) > len(shown):
        table.add_row(f"  and {len(status.nodes) - len(shown)} more", *[""] * 6)
    return table


def _cells(node: NodeStatus) -> list[Text | str]:
    state = state_of(node)
    return [
        Text(f"  {printing.printable(node.node)}"),
        Text(node.role, style="dim"),
        ranks_of(node),
        Text(state, style=_STATES.get(state, "")),
        str(node.step) if node.step else "-",
        units.loss(node.loss),
        units.rate(node.samples_per_s),
    ]


def _overall(status: RunStatus, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    parts = progress(status)
    cells: list[RenderableType] = [
        Text(parts[name], style=style) for name, style in _PARTS.items() if name in parts
    ]
    if status.total_steps and cells:
        bar = ProgressBar(
            total=status.total_steps, completed=status.step, width=max(8, min(40, width - 72))
        )
        cells.insert(1, bar)
    grid.add_row("", *cells)
    return grid
