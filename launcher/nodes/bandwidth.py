"""How fast each pair of nodes talks, and which pairs are slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from launcher import units
from launcher.nodes.addresses import Place, pairs
from launcher.nodes.facts import NodeFacts
from launcher.transports import Answer, Transport
from launcher.transports.remote import source

MOST_FULL = 8
"""Up to this many nodes every pair is measured; above, each node with a few others."""
SLOW_SHARE = 0.5
"""A pair with less than this share of the usual bandwidth is slow."""
SLOW_LATENCY = 5.0
"""A pair with more than this many times the usual latency is slow."""
_LEAST_LATENCY_S = 0.005  # below it, differences say more about busy cores than about the network
_PAIR_S = 15.0
_SPARE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Link:
    """What was measured between two nodes."""

    one: str
    other: str
    latency_s: float = 0.0
    """There and back."""
    bytes_per_s: float = 0.0
    """Both directions, one after the other."""
    problem: str = ""
    """Why nothing was measured."""

    @property
    def name(self) -> str:
        return f"{self.one} - {self.other}"


@dataclass(frozen=True, kw_only=True)
class Links:
    """All pairs that were measured."""

    links: tuple[Link, ...] = ()

    @property
    def measured(self) -> tuple[Link, ...]:
        return tuple(each for each in self.links if not each.problem)

    @property
    def usual_bytes_per_s(self) -> float:
        return median(each.bytes_per_s for each in self.measured) if self.measured else 0.0

    @property
    def usual_latency_s(self) -> float:
        return median(each.latency_s for each in self.measured) if self.measured else 0.0

    def complaint(self, link: Link) -> str:
        """Return what is wrong with a pair, in one line; empty when nothing is."""
        if link.problem:
            return f"it could not be measured: {link.problem}"
        if link.bytes_per_s < SLOW_SHARE * self.usual_bytes_per_s:
            usual = units.bandwidth(self.usual_bytes_per_s)
            return f"{units.bandwidth(link.bytes_per_s)}, others have {usual} (median)"
        limit = max(SLOW_LATENCY * self.usual_latency_s, _LEAST_LATENCY_S)
        if link.latency_s > limit:
            usual = units.latency(self.usual_latency_s)
            return f"{units.latency(link.latency_s)} there and back, others {usual} (median)"
        return ""

    @property
    def odd(self) -> tuple[tuple[Link, str], ...]:
        """Pairs that are slow or failed, each with what is wrong."""
        found = ((each, self.complaint(each)) for each in self.links)
        return tuple((each, complaint) for each, complaint in found if complaint)

    def culprits(self, order: Sequence[str]) -> tuple[str, ...]:
        """Return the nodes without which no odd pair is left; of equals the last of `order`."""
        left = [(link.one, link.other) for link, _ in self.odd]
        found = []
        while left:
            count = Counter(name for pair in left for name in pair)
            worst = max(count, key=lambda name: (count[name], order.index(name)))
            found.append(worst)
            left = [pair for pair in left if worst not in pair]
        return tuple(found)


def measure(
    transport: Transport,
    nodes: Sequence[NodeFacts],
    places: Mapping[int, Place],
    *,
    timeout_s: float = 120.0,
) -> Links:
    """Measure the pairs of `nodes`, which reach each other at `places`; never raises for a pair.

    Odd pairs are measured once more, without the others: a moment of other traffic is no reason to
    leave a node out.
    """
    ranks = {each.name: each.node_rank for each in nodes}
    chosen = pairs([each.node_rank for each in nodes], full_mesh=MOST_FULL)
    found = ask(transport, nodes, places, chosen, timeout_s=timeout_s)
    again = [(ranks[link.one], ranks[link.other]) for link, _ in found.odd]
    if not again:
        return found
    return better(found, ask(transport, nodes, places, again, timeout_s=timeout_s))


def better(one: Links, other: Links) -> Links:
    """Return `one` with those of its pairs replaced that `other` has with a better value."""
    again = {link.name: link for link in other.measured}

    def best(link: Link) -> Link:
        found = again.get(link.name)
        if found is None or found.bytes_per_s < link.bytes_per_s:
            return link
        return found

    return Links(links=tuple(best(link) for link in one.links))


def ask(
    transport: Transport,
    nodes: Sequence[NodeFacts],
    places: Mapping[int, Place],
    chosen: Sequence[tuple[int, int]],
    *,
    timeout_s: float,
) -> Links:
    """Measure these pairs once."""
    if not chosen:
        return Links()
    by_rank = {each.node_rank: each for each in nodes}
    ports = _ports(chosen, by_rank)
    requests = {
        rank: {
            "interface": places[rank].interface,
            "limit_s": timeout_s - _SPARE_S,
            "pairs": [
                {
                    "name": f"{one} {other}",
                    "first": rank == one,
                    "address": places[one].address,
                    "port": ports[one, other],
                    "limit_s": _PAIR_S,
                }
                for one, other in chosen
                if rank in (one, other)
            ],
        }
        for rank in sorted({rank for pair in chosen for rank in pair})
    }
    answers = transport.ask(source("link_probe"), requests, timeout_s=timeout_s)
    return Links(links=tuple(_read(pair, answers, by_rank) for pair in chosen))


def _ports(
    chosen: Sequence[tuple[int, int]], nodes: Mapping[int, NodeFacts]
) -> dict[tuple[int, int], int]:
    """Each pair meets at a free port of its first node; the ports of a node take turns."""
    used: Counter[int] = Counter()
    ports = {}
    for one, other in chosen:
        free = nodes[one].free_ports
        ports[one, other] = free[used[one] % len(free)]
        used[one] += 1
    return ports


def _read(
    pair: tuple[int, int], answers: Mapping[int, Answer], nodes: Mapping[int, NodeFacts]
) -> Link:
    one, other = nodes[pair[0]].name, nodes[pair[1]].name
    # Who waits for a silent node is not done in time either: the silent one is the reason.
    for rank in sorted(pair, key=lambda each: answers[each].value is not None):
        problem = _problem(answers[rank], f"{pair[0]} {pair[1]}")
        if problem:
            return Link(one=one, other=other, problem=f"{nodes[rank].name}: {problem}")
    # Both measured the same; the first one's word is as good as the other's.
    found = (answers[pair[0]].value or {})["pairs"][f"{pair[0]} {pair[1]}"]
    return Link(
        one=one, other=other, latency_s=found["latency_s"], bytes_per_s=found["bytes_per_s"]
    )


def _problem(answer: Answer, pair: str) -> str:
    if answer.value is None:
        return answer.problem
    found = answer.value["pairs"].get(pair)
    if found is None:
        return "not done in time"
    return str(found.get("problem", ""))
