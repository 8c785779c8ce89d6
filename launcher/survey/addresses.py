"""Which address of each node the others use, and which nodes cannot be used together. Pure."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from launcher.survey.facts import Interface, NodeFacts
from launcher.survey.mesh import Mesh

_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the others reach a node, and why there."""

    address: str
    interface: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One node that does not reach another."""

    asker: int
    target: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Places:
    """The choice for all nodes."""

    places: Mapping[int, Place] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    cut_off: Mapping[int, str] = field(default_factory=dict)
    """Nodes without which all others reach each other -> why, in one line."""


def choose(
    nodes: Sequence[NodeFacts],
    mesh: Mesh,
    named: Mapping[int, Sequence[str]] | None = None,
    *,
    spoiled: Container[int] = (),
) -> Places:
    """Return the address of each node that most others reach.

    Nodes that cannot be used anyway (`spoiled`) are at fault wherever they do not meet another.

    Among equals: the one that the node's name resolves to where the command was typed (`named`),
    then the subnet that most nodes share, then the fastest interface, then the kernel's order.
    """
    subnets = Counter(
        subnet for each in nodes for subnet in {_subnet(link) for link in each.addresses}
    )
    names = {each.node_rank: (named or {}).get(each.node_rank, ()) for each in nodes}
    links = {
        each.node_rank: _best(each, mesh, subnets, names[each.node_rank])
        for each in nodes
        if each.addresses
    }
    gaps = [gap for rank, link in links.items() for gap in _gaps(rank, link.address, mesh)]
    cut_off = _cut_off(nodes, gaps, mesh, spoiled)
    return Places(
        places={
            rank: Place(
                address=link.address,
                interface=link.name,
                reason=_why(rank, link, mesh, names[rank], cut_off),
            )
            for rank, link in links.items()
        },
        gaps=tuple(gaps),
        cut_off=cut_off,
    )


def _best(node: NodeFacts, mesh: Mesh, subnets: Counter[str], named: Sequence[str]) -> Interface:
    askers = mesh.askers(node.node_rank)

    def reached(link: Interface) -> int:
        tried = (mesh.links[asker, node.node_rank] for asker in askers)
        return sum(link.address in each.seconds for each in tried)

    def rank(link: Interface) -> tuple[int, bool, int, int]:
        shared = subnets[_subnet(link)]
        return reached(link), link.address in named, shared, link.speed_mbps

    return max(node.addresses, key=rank)


def _why(
    rank: int, link: Interface, mesh: Mesh, named: Sequence[str], cut_off: Container[int]
) -> str:
    askers = [asker for asker in mesh.askers(rank) if asker not in cut_off]
    count = sum(link.address in mesh.links[asker, rank].seconds for asker in askers)
    why = f"reached by {count} of {len(askers)}" if askers else "not tried by others"
    return why + ("; its name means this address" if link.address in named else "")


def _gaps(rank: int, address: str, mesh: Mesh) -> list[Gap]:
    found = []
    for asker in mesh.askers(rank):
        tried = mesh.links[asker, rank]
        if address not in tried.seconds:
            reason = tried.failed.get(address, "no answer")
            found.append(Gap(asker=asker, target=rank, reason=f"{address}: {reason}"))
    return found


def _cut_off(
    nodes: Sequence[NodeFacts], gaps: Sequence[Gap], mesh: Mesh, spoiled: Container[int]
) -> dict[int, str]:
    """Leave out the node with the most gaps until there are none; of equals the last one.

    Nodes stand in the order of preference, so spares go before hosts, and the head goes last.
    """
    names = {each.node_rank: each.name for each in nodes}
    order = {each.node_rank: place for place, each in enumerate(nodes)}
    left_out = dict(mesh.silent)
    left = [gap for gap in gaps if not {gap.asker, gap.target} & left_out.keys()]
    while left:
        count = Counter(rank for pair in _unordered(left) for rank in pair)
        worst = max(count, key=lambda rank: (rank in spoiled, count[rank], order[rank]))
        left_out[worst] = _without(worst, left, names)
        left = [gap for gap in left if worst not in (gap.asker, gap.target)]
    return left_out


def _unordered(gaps: Sequence[Gap]) -> set[tuple[int, int]]:
    return {(min(gap.asker, gap.target), max(gap.asker, gap.target)) for gap in gaps}


def _without(rank: int, gaps: Sequence[Gap], names: Mapping[int, str]) -> str:
    peers = [names[a if b == rank else b] for a, b in sorted(_unordered(gaps)) if rank in (a, b)]
    listed = ", ".join(peers[:_MOST_NAMED])
    more = f" and {len(peers) - _MOST_NAMED} more" if len(peers) > _MOST_NAMED else ""
    first = next(gap for gap in gaps if rank in (gap.asker, gap.target))
    return f"no connection with {listed}{more} ({names[first.asker]} -> {first.reason})"


def _subnet(link: Interface) -> str:
    return str(ipaddress.ip_network(f"{link.address}/{link.prefix}", strict=False))
