"""The status of a run, as a few lines and a table, or as one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from launcher import units
from launcher.cli import printing
from launcher.runs import NodeStatus, RunState, RunStatus
from launcher.runs.records import PROGRAM
from launcher.specs import RankState

_OVER = (RunState.QUEUED, RunState.DONE, RunState.SAVED, RunState.STOPPED, RunState.FAILED)


@dataclass
class Ticker:
    """Shows a text that changes: a block on a terminal, lines elsewhere."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    _on_screen: int = 0
    _last: str = ""

    def show(self, *, block: str, line: str) -> None:
        """Show `block` on a terminal, elsewhere `line` if it is new."""
        if self.out.isatty():
            # Move to the start of the last block, and clear from there.
            up = f"\033[{self._on_screen}F\033[J" if self._on_screen else ""
            self._print(block, before=up)
            self._on_screen = block.count("\n") + 1
        elif line != self._last:
            self._print(line)
            self._last = line

    def say(self, text: str) -> None:
        """Show a line that stays; the next block is drawn below it."""
        self._on_screen = 0
        self._print(text)

    def _print(self, text: str, *, before: str = "") -> None:
        printing.raw(before + printing.printable(text), to=self.out, flush=True)


def text(
    status: RunStatus,
    *,
    why: str,
    jobs: Sequence[str] = (),
    advice: Sequence[tuple[str, str]] = (),
) -> str:
    """Return a few lines and a table of nodes. `advice` is about the jobs: name and sentence.

    `why` is the command that shows what failed.
    """
    rows = [("run", f"{status.run_id}: {status.state}")]
    rows += [("job", job.removeprefix("job ")) for job in jobs]
    rows += advice
    if status.attempt:
        rows.append(("attempt", f"{status.attempt}, recipe {status.recipe}"))
    if status.restarted:
        rows.append(("restarted", f"{status.restarted} (why: `{why}`)"))
    if parts := progress(status):
        rows.append(("progress", ", ".join(parts.values())))
    if status.supervisor:
        alive = "alive" if status.supervisor_alive else "gone"
        rows.append(("supervisor", f"{status.supervisor}, {alive}"))
    if status.result:
        values = (f"{key} {units.value(each)}" for key, each in status.result.items())
        rows.append(("result", ", ".join(values)))
    if status.state is RunState.FAILED and status.attempt:
        rows.append(("why", f"root cause: `{why}`"))
    lines = [f"{name:<12}{value}" for name, value in rows]
    return "\n".join([*lines, *_nodes(status)])


def in_one_line(status: RunStatus, jobs: Sequence[str] = ()) -> str:
    """Return one line for a log."""
    parts = [*jobs, *progress(status).values()]
    return f"{status.run_id}: {status.state}  {'  '.join(parts)}".rstrip()


def progress(status: RunStatus) -> dict[str, str]:
    """Return how far a run is, by part; parts that are unknown are omitted."""
    if not status.step:
        return {}
    total = f"/{status.total_steps}" if status.total_steps else ""
    parts = {"step": f"step {status.step}{total}"}
    if status.loss is not None:
        parts["loss"] = f"loss {units.loss(status.loss)}"
    if status.state is RunState.RUNNING:
        if status.samples_per_s is not None:
            parts["rate"] = f"{units.rate(status.samples_per_s)} samples/s"
        if status.eta_s is not None:
            parts["left"] = f"{units.clock(status.eta_s)} left"
    if status.committed_step is not None:
        parts["saved"] = f"saved at step {status.committed_step}"
    return parts


def state_of(node: NodeStatus) -> str:
    """Return one word for what a node of a live run does: a phase, or how its ranks ended."""
    if node.state == "silent":
        return "waiting"
    if node.state != RankState.RUNNING:
        return node.state
    return "running" if node.phase == PROGRAM else node.phase


def ranks_of(node: NodeStatus) -> str:
    """Return `4`, or `3/4` if only three of four ranks have reported."""
    return str(node.ranks) if node.reporting == node.ranks else f"{node.reporting}/{node.ranks}"


def _nodes(status: RunStatus) -> list[str]:
    if not status.nodes:
        return []
    from launcher.cli.display import tables

    titles = ("node", "ranks", "state", "phase", "step", "last sign")
    table = tables.table(*titles, right=("ranks", "step"))
    for node in status.nodes:
        sign = _sign(node, status.state)
        cells = (node.node, ranks_of(node), node.state, node.phase, node.step, sign)
        tables.add(table, *cells)
    return ["", tables.plain(table)]


def _sign(node: NodeStatus, state: RunState) -> str:
    """Return how long ago the node gave a sign of life, or when, if the run is over."""
    if node.heartbeat_at is None or node.heartbeat_age_s is None:
        return "never"
    if state in _OVER:
        return units.moment(node.heartbeat_at)
    return f"{units.duration(node.heartbeat_age_s)} ago"
