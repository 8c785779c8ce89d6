from __future__ import annotations

import dataclasses
import socket
import sys
from contextlib import ExitStack

import pytest

from launcher.specs import Node
from launcher.survey import mesh
from launcher.survey.facts import Interface, NodeFacts
from launcher.transports import Answer, Reach, Transport, create


@pytest.fixture
def ports() -> dict[int, int]:
    """Ports that were free a moment ago, one for each of four nodes."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(4)]
        for each in found:
            each.bind(("", 0))
        return {rank: each.getsockname()[1] for rank, each in enumerate(found)}


def facts(rank: int, *addresses: str) -> NodeFacts:
    found = tuple(Interface(name="lo", address=each, prefix=8) for each in addresses)
    return NodeFacts(node_rank=rank, name=f"n{rank}", interfaces=found)


@pytest.fixture
def transport() -> Transport:
    node = Node(node_rank=0, name="here", address="127.0.0.1", slots=1)
    return create("local", Reach(nodes=(node,), python=sys.executable))


def test_nodes_that_reach_each_other_say_so_at_every_address(
    transport: Transport, ports: dict[int, int]
) -> None:
    nodes = [facts(rank, "127.0.0.1", f"127.0.0.{rank + 2}") for rank in range(4)]
    found = mesh.ask(transport, nodes, ports, patience_s=60)
    assert not found.silent
    assert len(found.links) == 12
    for (_, target), link in found.links.items():
        assert not link.failed
        # the second address may still be under way when the first one is known
        assert link.seconds.keys() <= {"127.0.0.1", f"127.0.0.{target + 2}"}
        assert link.seconds


def test_who_does_not_listen_is_told_with_the_reason_by_all_others(
    transport: Transport, ports: dict[int, int]
) -> None:
    nodes = [facts(rank, "127.0.0.1") for rank in range(3)]

    class WithoutTheLast:
        def ask(self, source, requests, *, timeout_s):  # type: ignore[no-untyped-def]
            answers = transport.ask(
                source, {rank: requests[rank] for rank in (0, 1)}, timeout_s=timeout_s + 60
            )
            return {**answers, 2: Answer(node_rank=2, problem="it left")}

    gone = mesh.ask(WithoutTheLast(), nodes, ports, patience_s=1)  # type: ignore[arg-type]
    assert gone.silent == {2: "it left"}
    assert gone.links[0, 1].seconds.keys() == {"127.0.0.1"}
    assert gone.links[0, 2].failed == {"127.0.0.1": "connection refused"}
    assert gone.links[1, 2].failed == {"127.0.0.1": "connection refused"}


def test_an_address_where_somebody_else_answers_does_not_count(
    transport: Transport, ports: dict[int, int]
) -> None:
    """Every machine with containers has docker0 at the same address: it leads to oneself."""
    nodes = [facts(0, "127.0.0.1"), facts(1, "127.0.0.1")]
    swapped = {0: ports[0], 1: ports[1]}

    class Confused:
        def ask(self, source, requests, *, timeout_s):  # type: ignore[no-untyped-def]
            asked = {rank: dict(request) for rank, request in requests.items()}
            own = {**asked[0]["peers"][0], "port": ports[0]}
            asked[0]["peers"] = [own]
            return transport.ask(source, asked, timeout_s=timeout_s + 60)

    found = mesh.ask(Confused(), nodes, swapped, patience_s=1)  # type: ignore[arg-type]
    assert found.links[0, 1].failed == {"127.0.0.1": "another machine answers there"}


def test_a_few_nodes_try_all_and_many_try_some() -> None:
    assert mesh.pairs([5]) == ()
    assert mesh.pairs([0, 1, 2]) == ((0, 1), (0, 2), (1, 2))
    many = mesh.pairs(range(100))
    assert len(many) < 500
    assert {(0, rank) for rank in range(1, 100)} <= set(many)
    assert {(rank, rank + 1) for rank in range(99)} <= set(many)
    assert all(one < other for one, other in many)


def test_one_node_alone_is_not_asked_anything(transport: Transport) -> None:
    assert mesh.ask(transport, [facts(0, "10.0.0.1")], {0: 1}) == mesh.Mesh()
    assert dataclasses.asdict(mesh.Mesh()) == {"links": {}, "silent": {}}
