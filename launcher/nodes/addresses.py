"""Which address of each node the others use, and which nodes cannot be used together."""

from __future__ import annotations

import ipaddress
import random
import uuid
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from launcher.nodes.facts import Interface, NodeFacts
from launcher.transports import Answer, Transport
from launcher.transports.remote import source

FULL_MESH = 16
"""Up to this many nodes, each tries all others; with more nodes, each tries a few."""
_RANDOM_PEERS = 2
_SETTLE_S = 0.5
_LISTENS_WITHIN_S = 20.0
"""From the login on. No node is tried before: a slow one is not a firewall."""
_SPARE_S = 5.0
"""What a node needs besides `timeout_s`, to listen until the others are done and to answer."""
_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class NodeAddress:
    """The address at which the others reach a node."""

    address: str
    interface: str
    reason: str
    """Why this one."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Two nodes of which one does not reach the other."""

    asker: int
    target: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The address of each node, and the nodes without any that works."""

    chosen: Mapping[int, NodeAddress] = field(default_factory=dict)
    cut_off: Mapping[int, str] = field(default_factory=dict)
    """Nodes without which all others reach each other -> why, in one line."""
    silent: Collection[int] = ()
    """Of these, the nodes that did not answer, so nothing is known about their connections."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Which addresses of one node another node reached."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    """Address -> round trip time, of those that it reached."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Address -> why not."""


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Which nodes reached which; the ranks are those of the candidates."""

    links: Mapping[tuple[int, int], Reached] = field(default_factory=dict)
    """(asker, target) -> result, of the pairs that tried."""
    silent: Mapping[int, str] = field(default_factory=dict)
    """Nodes that did not answer -> why."""

    def askers(self, rank: int) -> tuple[int, ...]:
        """Return the nodes that tried to reach `rank`."""
        return tuple(asker for asker, target in self.links if target == rank)


def pairs(ranks: Sequence[int], *, full_mesh: int = FULL_MESH) -> tuple[tuple[int, int], ...]:
    """Return the pairs that try each other: all, or with many nodes a part.

    All nodes must reach the head, collectives use the ring, and a few random pairs find what
    divides a cluster in two.
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
    timeout_s: float = 5.0,
) -> Mesh:
    """Let `nodes` try to reach each other. `ports` has a free port of each."""
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
            "timeout_s": timeout_s,
            "settle_s": _SETTLE_S,
        }
    answers = transport.ask(
        source("mesh_probe"),
        requests,
        timeout_s=timeout_s + _SPARE_S,
        ready_within_s=_LISTENS_WITHIN_S,
    )
    return read(answers)


def read(answers: Mapping[int, Answer]) -> Mesh:
    """Read the answers of `mesh_probe`."""
    links: dict[tuple[int, int], Reached] = {}
    silent = {}
    for rank, answer in answers.items():
        if answer.value is None:
            silent[rank] = answer.problem
            continue
        for peer, result in answer.value.items():
            links[rank, int(peer)] = Reached(seconds=result["reached"], failed=result["failed"])
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


# From what was reached to one address for each node. Pure.
def choose(
    nodes: Sequence[NodeFacts],
    mesh: Mesh,
    named: Mapping[int, Sequence[str]] | None = None,
    *,
    unusable: Container[int] = (),
) -> Addresses:
    """Return for each node the address that most others reach.

    In a tie: the one that the node's name resolves to on this machine (`named`), then the one in
    the subnet of most nodes, then the one of the fastest interface, then the kernel's order. If
    two nodes do not reach each other and one of them is `unusable` anyway, that one is cut off.
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
    cut_off = _cut_off(nodes, gaps, mesh, unusable)
    return Addresses(
        chosen={
            rank: NodeAddress(
                address=link.address,
                interface=link.name,
                reason=_why(rank, link, mesh, names[rank], cut_off),
            )
            for rank, link in links.items()
        },
        cut_off=cut_off,
        silent=tuple(mesh.silent),
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
    return why + ("; its name resolves to this address" if link.address in named else "")


def _gaps(rank: int, address: str, mesh: Mesh) -> list[Gap]:
    gaps = []
    for asker in mesh.askers(rank):
        tried = mesh.links[asker, rank]
        if address not in tried.seconds:
            reason = tried.failed.get(address, "no answer")
            gaps.append(Gap(asker=asker, target=rank, reason=f"{address}: {reason}"))
    return gaps


def _cut_off(
    nodes: Sequence[NodeFacts], gaps: Sequence[Gap], mesh: Mesh, unusable: Container[int]
) -> dict[int, str]:
    """Remove the node with the most gaps until there are none; in a tie the last one.

    `nodes` are in the order of preference, so spares are removed before hosts, and the head last.
    """
    names = {each.node_rank: each.name for each in nodes}
    order = {each.node_rank: place for place, each in enumerate(nodes)}
    removed = dict(mesh.silent)
    left = [gap for gap in gaps if not {gap.asker, gap.target} & removed.keys()]
    while left:
        count = Counter(rank for pair in _unordered(left) for rank in pair)
        worst = max(count, key=lambda rank: (rank in unusable, count[rank], order[rank]))
        removed[worst] = _unreached(worst, left, names)
        left = [gap for gap in left if worst not in (gap.asker, gap.target)]
    return removed


def _unordered(gaps: Sequence[Gap]) -> set[tuple[int, int]]:
    return {(min(gap.asker, gap.target), max(gap.asker, gap.target)) for gap in gaps}


def _unreached(rank: int, gaps: Sequence[Gap], names: Mapping[int, str]) -> str:
    peers = [names[a if b == rank else b] for a, b in sorted(_unordered(gaps)) if rank in (a, b)]
    listed = ", ".join(peers[:_MOST_NAMED])
    more = f" and {len(peers) - _MOST_NAMED} more" if len(peers) > _MOST_NAMED else ""
    first = next(gap for gap in gaps if rank in (gap.asker, gap.target))
    return f"no connection to {listed}{more} ({names[first.asker]} -> {first.reason})"


def _subnet(link: Interface) -> str:
    return str(ipaddress.ip_network(f"{link.address}/{link.prefix}", strict=False))
