"""Everything that is known about the nodes of a cluster without training on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from launcher import units
from launcher.nodes import bandwidth
from launcher.nodes.bandwidth import Connection, Connections
from launcher.nodes.facts import NodeNeeds
from launcher.nodes.find import NodeReport, inspect, one_for_each_machine, reached
from launcher.nodes.source import candidates
from launcher.nodes.table import HealthRow


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The report on the nodes, and the speed of their connections."""

    report: NodeReport
    connections: Connections

    @property
    def bad_nodes(self) -> tuple[str, ...]:
        """Nodes to exclude so that all others are fine, in the order of the cluster."""
        names = [row.node for row in self.report.table.rows]
        bad = {*self.report.table.bad_nodes, *self.connections.culprits(names)}
        return tuple(name for name in names if name in bad)

    @property
    def exclude(self) -> str:
        """The bad nodes as Slurm's `--exclude` takes them."""
        return ",".join(self.bad_nodes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is unusual but harmless, and what was not checked."""
        unverified = (
            ("NCCL was not verified: bandwidth and latency are those of gloo, over TCP",)
            if any(node.gpus for node in self.report.nodes)
            else ()
        )
        return (*self.report.table.warnings(), *unverified)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        environment = self.report.environment()
        return {
            "ok": not self.bad_nodes,
            "bad_nodes": list(self.bad_nodes),
            "exclude": self.exclude,
            "nodes": {
                row.node: {"checks": _checks(row), "environment": environment.get(row.node)}
                for row in self.report.table.rows
            },
            "links": [self._connection(each) for each in self.connections.connections],
            "notes": list(self.notes),
        }

    def _connection(self, pair: Connection) -> dict[str, Any]:
        known = not pair.problem
        return {
            "nodes": [pair.one, pair.other],
            "latency_s": pair.latency_s if known else None,
            "bytes_per_s": pair.bytes_per_s if known else None,
            "complaint": self.connections.complaint(pair),
        }


def diagnose(needs: NodeNeeds, *, tell: Callable[[str], None]) -> Diagnosis:
    """Inspect all candidates, then measure the connections between the usable ones.

    Raises:
        PreflightError: this process cannot write to the storage root.
    """
    offered = one_for_each_machine(candidates(needs.request))
    tell(f"checking {units.count(len(offered.hosts), 'node')} (cluster={offered.source})")
    with reached(offered, needs.request) as transport:
        report = inspect(offered, transport, needs)
        known = report.addresses
        usable = [
            node for node in report.nodes if node.node_rank in known.chosen.keys() - known.cut_off
        ]
        if transport is None or len(usable) < 2:
            return Diagnosis(report=report, connections=Connections())
        tell(f"measuring the connections between {len(usable)} nodes")
        measured = bandwidth.measure(transport, usable, known.chosen)
    return Diagnosis(report=report, connections=measured)


def _checks(row: HealthRow) -> dict[str, Any]:
    return {
        name: {
            "text": cell.text,
            "mark": str(cell.mark),
            **({"what": cell.what} if cell.what else {}),
            **({"hint": cell.hint} if cell.hint else {}),
        }
        for name, cell in row.cells.items()
    }
