"""`doctor`: find problems with the nodes, without training."""

from __future__ import annotations

import json
from collections.abc import Iterator

from launcher import config, launch, units
from launcher.cli import messages, printing
from launcher.cli.arguments import Invocation
from launcher.cli.context import config_dirs
from launcher.errors import PreflightError
from launcher.nodes import Diagnosis, HealthRow, Mark
from launcher.nodes.bandwidth import Connections

_STYLES = {Mark.GOOD: "", Mark.ODD: "yellow", Mark.BAD: "bold red"}


def doctor(invocation: Invocation) -> int:
    """Print the findings. Return 0 if every node can be used, else 3."""
    loaded = config.load(
        invocation.overrides, config_dirs=config_dirs(invocation), require_recipe=False
    )
    found = launch.doctor(loaded, tell=messages.say)
    if invocation.has("json"):
        printing.raw(json.dumps(found.to_json(), indent=2))
    else:
        _print_nodes(found)
        _print_connections(found.connections)
        printing.out("\n".join(_report(found)))
    return PreflightError.exit_code if found.bad_nodes else 0


def _print_nodes(found: Diagnosis) -> None:
    from rich.text import Text

    from launcher.cli.display import tables

    table = found.report.table
    drawn = tables.table("node", *table.columns)
    for row in table.rows:
        tables.add(drawn, row.node, *(Text(*_styled(row, name)) for name in table.columns))
    tables.show(drawn)
    for line in table.explanations():
        printing.out(line)


def _styled(row: HealthRow, column: str) -> tuple[str, str]:
    cell = row.cells.get(column)
    return (cell.signed, _STYLES[cell.mark]) if cell else ("-", "dim")


def _print_connections(found: Connections) -> None:
    from launcher.cli.display import tables

    if not found.connections:
        return
    drawn = tables.table("pair", "bandwidth", "latency")
    for pair in found.connections:
        sign = "! " if found.complaint(pair) else ""
        measured = (units.bandwidth(pair.bytes_per_s), units.latency(pair.latency_s))
        tables.add(drawn, sign + pair.name, *(("not measured", "") if pair.problem else measured))
    printing.out()
    tables.show(drawn)
    for pair, complaint in found.odd:
        printing.out(f"{pair.name}: {complaint}")


def _report(found: Diagnosis) -> Iterator[str]:
    if found.notes:
        yield ""
        yield from (f"note: {note}" for note in found.notes)
    yield ""
    if not found.bad_nodes:
        nodes = len(found.report.table.rows)
        yield f"all {nodes} nodes are fine" if nodes > 1 else "this node is fine"
        return
    yield f"bad nodes: {', '.join(found.bad_nodes)}"
    yield f"  for Slurm         --exclude={found.exclude}"
    yield f"  for the launcher  'cluster.exclude=[{found.exclude}]'"
