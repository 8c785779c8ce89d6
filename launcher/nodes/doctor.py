"""All that can be found out about the nodes of a cluster without training on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from launcher.nodes import Candidates, bandwidth
from launcher.nodes.bandwidth import Link, Links
from launcher.nodes.find import Look, LookRequest, look
from launcher.nodes.table import Row
from launcher.transports import Transport


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found."""

    seen: Look
    links: Links

    @property
    def bad_nodes(self) -> tuple[str, ...]:
        """Nodes without which the others are fine, in the order of the cluster."""
        names = [row.node for row in self.seen.table.rows]
        bad = {*self.seen.table.bad_nodes, *self.links.culprits(names)}
        return tuple(name for name in names if name in bad)

    @property
    def exclude(self) -> str:
        """The bad nodes as Slurm's `--exclude` takes them."""
        return ",".join(self.bad_nodes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is odd but hinders nobody, and what was not looked at."""
        unverified = (
            ("NCCL was not verified: bandwidth and latency are those of gloo, over TCP",)
            if any(node.gpus for node in self.seen.nodes)
            else ()
        )
        return (*self.seen.table.warnings(), *unverified)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        made_of = self.seen.environment()
        return {
            "ok": not self.bad_nodes,
            "bad_nodes": list(self.bad_nodes),
            "exclude": self.exclude,
            "nodes": {
                row.node: {"checks": _checks(row), "environment": made_of.get(row.node)}
                for row in self.seen.table.rows
            },
            "links": [self._link(each) for each in self.links.links],
            "notes": list(self.notes),
        }

    def _link(self, link: Link) -> dict[str, Any]:
        known = not link.problem
        return {
            "nodes": [link.one, link.other],
            "latency_s": link.latency_s if known else None,
            "bytes_per_s": link.bytes_per_s if known else None,
            "complaint": self.links.complaint(link),
        }


def diagnose(
    candidates: Candidates,
    transport: Transport,
    request: LookRequest,
    *,
    tell: Callable[[str], None],
) -> Diagnosis:
    """Look at all candidates, then measure how fast those that reach each other talk.

    Raises:
        PreflightError: the storage root cannot be written from here.
    """
    tell(f"asking how they are: {len(candidates.hosts)} of cluster={candidates.source}")
    seen = look(candidates, transport, request)
    places = seen.places
    able = [node for node in seen.nodes if node.node_rank in places.places.keys() - places.cut_off]
    if len(able) > 1:
        tell(f"measuring the connections of {len(able)} nodes")
    return Diagnosis(seen=seen, links=bandwidth.measure(transport, able, places.places))


def _checks(row: Row) -> dict[str, Any]:
    return {
        name: {
            "text": cell.text,
            "mark": str(cell.mark),
            **({"what": cell.what} if cell.what else {}),
            **({"hint": cell.hint} if cell.hint else {}),
        }
        for name, cell in row.cells.items()
    }
