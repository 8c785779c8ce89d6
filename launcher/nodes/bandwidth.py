"""Bandwidth and latency of each pair of nodes, and which pairs are slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from launcher import units
from launcher.nodes.addresses import NodeAddress, pairs
from launcher.nodes.facts import NodeFacts
from launcher.transports import Answer, Transport
from launcher.transports.remote import source

MOST_FULL = 8
"""Up to this many nodes, all pairs are measured; with more nodes, each with a few others."""
SLOW_SHARE = 0.5
"""A pair with less than this share of the median bandwidth is slow."""
SLOW_LATENCY = 5.0
"""A pair with more than this many times the median latency is slow."""
_LEAST_LATENCY_S = 0.005  # smaller differences come from busy cores, not from the network
_PAIR_S = 15.0
_IMPORTS_WITHIN_S = 90.0
"""To import torch, on a loaded host with slow storage."""
_SPARE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The measured connection between two nodes."""

    one: str
    other: str
    latency_s: float = 0.0
    """Round trip time."""
    bytes_per_s: float = 0.0
    """Mean of both directions."""
    problem: str = ""
    """Why it was not measured."""
    blamed: str = ""
    """The node because of which it was not measured, if it is one of the two."""

    @property
    def name(self) -> str:
        return f"{self.one} - {self.other}"


@dataclass(frozen=True, kw_only=True)
class Connections:
    """The connections of all measured pairs."""

    connections: tuple[Connection, ...] = ()

    @property
    def measured(self) -> tuple[Connection, ...]:
        return tuple(each for each in self.connections if not each.problem)

    @property
    def usual_bytes_per_s(self) -> float:
        return median(each.bytes_per_s for each in self.measured) if self.measured else 0.0

    @property
    def usual_latency_s(self) -> float:
        return median(each.latency_s for each in self.measured) if self.measured else 0.0

    def complaint(self, pair: Connection) -> str:
        """Return what is wrong with a pair, in one line; empty if nothing is."""
        if pair.problem:
            return f"not measured: {pair.problem}"
        if pair.bytes_per_s < SLOW_SHARE * self.usual_bytes_per_s:
            usual = units.bandwidth(self.usual_bytes_per_s)
            return f"{units.bandwidth(pair.bytes_per_s)}, the median is {usual}"
        limit = max(SLOW_LATENCY * self.usual_latency_s, _LEAST_LATENCY_S)
        if pair.latency_s > limit:
            usual = units.latency(self.usual_latency_s)
            return f"{units.latency(pair.latency_s)} round trip, the median is {usual}"
        return ""

    @property
    def odd(self) -> tuple[tuple[Connection, str], ...]:
        """Pairs that are slow or failed, each with what is wrong."""
        judged = ((each, self.complaint(each)) for each in self.connections)
        return tuple((each, complaint) for each, complaint in judged if complaint)

    def culprits(self, order: Sequence[str]) -> tuple[str, ...]:
        """Return the nodes without which no bad pair is left; in a tie the last of `order`."""
        culprits = list(dict.fromkeys(pair.blamed for pair, _ in self.odd if pair.blamed))
        pairs = ((pair.one, pair.other) for pair, _ in self.odd)
        left = [pair for pair in pairs if not set(culprits) & set(pair)]
        while left:
            count = Counter(name for pair in left for name in pair)
            worst = max(count, key=lambda name: (count[name], order.index(name)))
            culprits.append(worst)
            left = [pair for pair in left if worst not in pair]
        return tuple(culprits)


def measure(
    transport: Transport,
    nodes: Sequence[NodeFacts],
    addresses: Mapping[int, NodeAddress],
    *,
    timeout_s: float = 120.0,
) -> Connections:
    """Measure the pairs of `nodes`, which reach each other at `addresses`. Never raises for a pair.

    Slow and failed pairs are measured again, without the others: a moment of other traffic must
    not exclude a node.
    """
    ranks = {each.name: each.node_rank for each in nodes}
    chosen = pairs([each.node_rank for each in nodes], full_mesh=MOST_FULL)
    first = ask(transport, nodes, addresses, chosen, timeout_s=timeout_s)
    again = [(ranks[pair.one], ranks[pair.other]) for pair, _ in first.odd]
    if not again:
        return first
    return better(first, ask(transport, nodes, addresses, again, timeout_s=timeout_s))


def better(one: Connections, other: Connections) -> Connections:
    """Return `one`, with the values of `other` for pairs that are better there."""
    again = {pair.name: pair for pair in other.measured}

    def best(pair: Connection) -> Connection:
        second = again.get(pair.name)
        return second if second and second.bytes_per_s >= pair.bytes_per_s else pair

    return Connections(connections=tuple(best(pair) for pair in one.connections))


def ask(
    transport: Transport,
    nodes: Sequence[NodeFacts],
    addresses: Mapping[int, NodeAddress],
    chosen: Sequence[tuple[int, int]],
    *,
    timeout_s: float,
) -> Connections:
    """Measure these pairs once."""
    if not chosen:
        return Connections()
    by_rank = {each.node_rank: each for each in nodes}
    ports = _ports(chosen, by_rank)
    requests = {
        rank: {
            "interface": addresses[rank].interface,
            "limit_s": timeout_s - _SPARE_S,
            "pairs": [
                {
                    "name": f"{one} {other}",
                    "first": rank == one,
                    "peer": other if rank == one else one,
                    "address": addresses[one].address,
                    "port": ports[one, other],
                    "limit_s": _PAIR_S,
                }
                for one, other in chosen
                if rank in (one, other)
            ],
        }
        for rank in sorted({rank for pair in chosen for rank in pair})
    }
    answers = transport.ask(
        source("link_probe"), requests, timeout_s=timeout_s, ready_within_s=_IMPORTS_WITHIN_S
    )
    return Connections(connections=tuple(_read(pair, answers, by_rank) for pair in chosen))


def _ports(
    chosen: Sequence[tuple[int, int]], nodes: Mapping[int, NodeFacts]
) -> dict[tuple[int, int], int]:
    """Return for each pair a free port of its first node; the ports of a node take turns."""
    used: Counter[int] = Counter()
    ports = {}
    for one, other in chosen:
        free = nodes[one].free_ports
        ports[one, other] = free[used[one] % len(free)]
        used[one] += 1
    return ports


def _read(
    pair: tuple[int, int], answers: Mapping[int, Answer], nodes: Mapping[int, NodeFacts]
) -> Connection:
    one, other = nodes[pair[0]].name, nodes[pair[1]].name
    # The peer of a silent node does not finish in time either: name the silent one.
    for rank in sorted(pair, key=lambda each: answers[each].value is not None):
        problem = _problem(answers[rank], f"{pair[0]} {pair[1]}")
        if problem:
            silent = nodes[rank].name if answers[rank].value is None else ""
            problem = f"{nodes[rank].name}: {problem}"
            return Connection(one=one, other=other, problem=problem, blamed=silent)
    # Both measured the same connection: take the values of the first.
    result = (answers[pair[0]].value or {})["pairs"][f"{pair[0]} {pair[1]}"]
    return Connection(
        one=one, other=other, latency_s=result["latency_s"], bytes_per_s=result["bytes_per_s"]
    )


def _problem(answer: Answer, pair: str) -> str:
    if answer.value is None:
        return answer.problem
    result = answer.value["pairs"].get(pair)
    if result is None:
        return "not finished in time"
    return str(result.get("problem", ""))
