"""Which address of each node the others use, and which nodes cannot be used together. Pure."""

from __future__ import annotations

import ipaddress
import random
import uuid
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from launcher.nodes.facts import Interface, NodeFacts
from launcher.transports import Answer, Transport
from launcher.transports.remote import source

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


# Which nodes reach each other, and at which addresses.
FULL_MESH = 16
"""Up to this many nodes everybody tries everybody; above, each tries a few."""
_RANDOM_PEERS = 2
_SETTLE_S = 0.5
_SPARE_S = 5.0
"""What the nodes need beyond their patience: to listen on, and to bring back their answers."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What one node found of one other."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    """Address -> time of a round trip, of the addresses that led there."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Address -> why not."""


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Who reached whom; ranks are those of the candidates."""

    links: Mapping[tuple[int, int], Reached] = field(default_factory=dict)
    """(who tried, whom) -> what it found; only pairs that tried."""
    silent: Mapping[int, str] = field(default_factory=dict)
    """Nodes that were asked and told nothing -> why."""

    def askers(self, rank: int) -> tuple[int, ...]:
        """Return who told whether it reached `rank`."""
        return tuple(source for source, target in self.links if target == rank)


def pairs(ranks: Sequence[int], *, full_mesh: int = FULL_MESH) -> tuple[tuple[int, int], ...]:
    """Return which nodes try each other: all, or with many nodes the head, neighbours and chance.

    All nodes have to reach the head, the ring is what collectives use, and a few random pairs find
    what cuts a cluster in two.
    """
    if len(ranks) <= full_mesh:
        return tuple(combinations(ranks, 2))
    chance = random.Random(len(ranks))  # noqa: S311 - the same pairs every time, on purpose
    chosen = {(ranks[0], rank) for rank in ranks[1:]}
    for place, rank in enumerate(ranks):
        others = [ranks[(place + 1) % len(ranks)], *chance.sample(ranks, _RANDOM_PEERS)]
        chosen |= {(min(rank, other), max(rank, other)) for other in others if other != rank}
    return tuple(sorted(chosen))


def ask(
    transport: Transport,
    nodes: Sequence[NodeFacts],
    ports: Mapping[int, int],
    *,
    patience_s: float = 5.0,
) -> Mesh:
    """Let `nodes` try each other and return what they found. `ports` are free, one for each."""
    chosen = pairs([each.node_rank for each in nodes])
    if not chosen:
        return Mesh()
    nonce, by_rank = uuid.uuid4().hex, {each.node_rank: each for each in nodes}
    requests = {}
    for rank in by_rank:
        peers = list(_peers(rank, chosen))
        requests[rank] = {
            "rank": rank,
            "nonce": nonce,
            "port": ports[rank],
            "peers": [_peer(by_rank[peer], ports) for peer in peers],
            "askers": peers,
            "patience_s": patience_s,
            "settle_s": _SETTLE_S,
        }
    answers = transport.ask(source("mesh_probe"), requests, timeout_s=patience_s + _SPARE_S)
    return read(answers)


def read(answers: Mapping[int, Answer]) -> Mesh:
    """Read the answers of `mesh_probe`."""
    links: dict[tuple[int, int], Reached] = {}
    silent = {}
    for rank, answer in answers.items():
        if answer.value is None:
            silent[rank] = answer.problem
            continue
        for peer, found in answer.value.items():
            links[rank, int(peer)] = Reached(seconds=found["reached"], failed=found["failed"])
    return Mesh(links=links, silent=silent)


def _peers(rank: int, chosen: Iterable[tuple[int, int]]) -> Iterable[int]:
    for one, other in chosen:
        if rank in (one, other):
            yield other if rank == one else one


def _peer(facts: NodeFacts, ports: Mapping[int, int]) -> dict[str, object]:
    return {
        "rank": facts.node_rank,
        "port": ports[facts.node_rank],
        "addresses": [each.address for each in facts.addresses],
    }
