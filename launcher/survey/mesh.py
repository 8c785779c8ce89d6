"""Which nodes reach each other, and at which addresses."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from launcher.survey.facts import NodeFacts
from launcher.survey.sources import source
from launcher.transports import Answer, Transport

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
