"""`doctor`: find out what is wrong with the nodes, without training on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from launcher import config, launch
from launcher.cli import commands, failure
from launcher.cli.arguments import Invocation
from launcher.cli.folders import config_dirs
from launcher.errors import PreflightError
from launcher.nodes import Diagnosis, Mark, Row
from launcher.nodes.bandwidth import rate

_STYLES = {Mark.GOOD: "", Mark.ODD: "yellow", Mark.BAD: "bold red"}


def main(invocation: Invocation) -> int:
    """Print what was found; 0 when every node can be used, 3 otherwise."""
    commands.no_words(invocation)
    chosen = config.load(
        invocation.overrides, config_dirs=config_dirs(invocation), require_recipe=False
    )
    found = launch.doctor(chosen, tell=failure.say)
    if invocation.has("json"):
        print(json.dumps(found.to_json(), indent=2))
    else:
        _print_nodes(found)
        print("\n".join(_report(found)))
    return PreflightError.exit_code if found.bad_nodes else 0


def _print_nodes(found: Diagnosis) -> None:
    table = found.seen.table
    if not sys.stdout.isatty():
        print(table.render())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table("node", *table.columns, box=box.SIMPLE_HEAD)
    for row in table.rows:
        drawn.add_row(row.node, *(Text(*_styled(row, name)) for name in table.columns))
    Console().print(drawn)
    print("\n".join(table.explanations()))


def _styled(row: Row, column: str) -> tuple[str, str]:
    cell = row.cells.get(column)
    return (cell.signed, _STYLES[cell.mark]) if cell else ("-", "dim")


def _report(found: Diagnosis) -> Iterator[str]:
    yield from _links(found)
    if found.notes:
        yield ""
        yield from (f"note: {note}" for note in found.notes)
    yield ""
    if not found.bad_nodes:
        nodes = len(found.seen.table.rows)
        yield f"all {nodes} nodes are fine" if nodes > 1 else "this node is fine"
        return
    yield f"bad nodes: {', '.join(found.bad_nodes)}"
    yield f"  for Slurm         --exclude={found.exclude}"
    yield f"  for the launcher  'cluster.exclude=[{found.exclude}]'"


def _links(found: Diagnosis) -> Iterator[str]:
    links = found.links
    if not links.links:
        return
    width = max(len(link.name) for link in links.links) + 2
    yield ""
    yield f"{'pair':<{width}}  {'bandwidth':<11}latency"
    for link in links.links:
        sign = "! " if links.complaint(link) else ""
        measured = (
            "not measured"
            if link.problem
            else f"{rate(link.bytes_per_s):<11}{1e3 * link.latency_s:.2f} ms"
        )
        yield f"{sign + link.name:<{width}}  {measured}"
    for link, complaint in links.odd:
        yield f"{link.name}: {complaint}"
