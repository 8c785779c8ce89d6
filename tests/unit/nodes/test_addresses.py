from __future__ import annotations

import dataclasses
import socket
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import permutations

import pytest

from launcher.nodes import addresses
from launcher.nodes.addresses import Mesh, Reached, choose
from launcher.nodes.facts import Interface, NodeFacts
from launcher.specs import Node
from launcher.transports import Reach, Transport, create


def node(rank: int, *addresses: str, speed: int = 0) -> NodeFacts:
    """A node with an interface of its own, eth0, eth1 ..., for each address."""
    return NodeFacts(
        node_rank=rank,
        name=f"gpu{rank}",
        interfaces=tuple(
            Interface(
                name=f"eth{place}", address=address, prefix=24, speed_mbps=speed * (place + 1)
            )
            for place, address in enumerate(addresses)
        ),
    )


def mesh(nodes: Iterable[NodeFacts], *cut: tuple[int, int], lost: Iterable[str] = ()) -> Mesh:
    """Everybody reaches everybody, but for the pairs in `cut` and the addresses in `lost`."""
    links = {}
    for one, other in permutations(nodes, 2):
        pair = (one.node_rank, other.node_rank)
        all_of_it = [each.address for each in other.addresses]
        well = [each for each in all_of_it if pair not in cut and each not in lost]
        links[pair] = Reached(
            seconds=dict.fromkeys(well, 0.001),
            failed={each: "no answer" for each in all_of_it if each not in well},
        )
    return Mesh(links=links)


def chosen(nodes: list[NodeFacts], found: Mesh, **named: list[str]) -> list[str]:
    by_rank = {int(name.removeprefix("gpu")): each for name, each in named.items()}
    places = choose(nodes, found, by_rank).chosen
    return [
        f"{places[each.node_rank].address} {places[each.node_rank].interface}" for each in nodes
    ]


def test_the_address_that_all_reach_wins_over_the_one_the_name_means() -> None:
    nodes = [node(0, "10.0.0.1", "10.1.0.1"), node(1, "10.0.0.2", "10.1.0.2")]
    found = mesh(nodes, lost=["10.0.0.2"])
    assert chosen(nodes, found, gpu1=["10.0.0.2"]) == ["10.0.0.1 eth0", "10.1.0.2 eth1"]


def test_among_equals_the_one_that_the_name_means_wins() -> None:
    nodes = [node(0, "10.0.0.1", "10.1.0.1"), node(1, "10.0.0.2", "10.1.0.2")]
    named = {"gpu0": ["10.1.0.1"], "gpu1": ["10.1.0.2"]}
    assert chosen(nodes, mesh(nodes), **named) == ["10.1.0.1 eth1", "10.1.0.2 eth1"]


def test_then_the_subnet_that_most_share_and_then_the_faster_one() -> None:
    nodes = [node(0, "10.9.0.1", "10.0.0.1"), node(1, "10.0.0.2"), node(2, "10.0.0.3")]
    assert chosen(nodes, mesh(nodes))[0] == "10.0.0.1 eth1"
    fast = [node(each, f"10.0.0.{each}", f"10.1.0.{each}", speed=100) for each in range(3)]
    assert chosen(fast, mesh(fast)) == [f"10.1.0.{each} eth1" for each in range(3)]


def test_one_cut_pair_leaves_out_the_later_node_and_names_the_pair() -> None:
    nodes = [node(each, f"10.0.0.{each}") for each in range(4)]
    found = choose(nodes, mesh(nodes, (1, 2), (2, 1)))
    assert found.cut_off == {
        2: "no connection to gpu1 (gpu2 -> 10.0.0.1: no answer)",
    }


def test_a_node_that_nobody_reaches_is_the_one_left_out_even_as_head() -> None:
    nodes = [node(each, f"10.0.0.{each}") for each in range(4)]
    pairs = [(0, other) for other in (1, 2, 3)] + [(other, 0) for other in (1, 2, 3)]
    cut_off = choose(nodes, mesh(nodes, *pairs)).cut_off
    assert list(cut_off) == [0]
    assert cut_off[0].startswith("no connection to gpu1, gpu2, gpu3 (gpu1 -> 10.0.0.0")


def test_a_connection_in_one_direction_only_is_none() -> None:
    nodes = [node(each, f"10.0.0.{each}") for each in range(3)]
    assert list(choose(nodes, mesh(nodes, (1, 2))).cut_off) == [2]


def test_who_fell_silent_is_left_out_and_is_nobody_elses_fault() -> None:
    nodes = [node(each, f"10.0.0.{each}") for each in range(3)]
    whole = mesh(nodes, (0, 2), (1, 2))
    links = {pair: link for pair, link in whole.links.items() if pair[0] != 2}
    found = choose(nodes, Mesh(links=links, silent={2: "no answer within 10 s"}))
    assert found.cut_off == {2: "no answer within 10 s"}


def test_a_single_node_has_an_address_without_anybody_trying() -> None:
    only = node(0, "10.0.0.1", "10.1.0.1")
    assert chosen([only], Mesh(), gpu0=["10.1.0.1"]) == ["10.1.0.1 eth1"]
    assert choose([only], Mesh()).chosen[0].reason == "not tried by others"


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


@pytest.mark.process
def test_nodes_that_reach_each_other_say_so_at_every_address(
    transport: Transport, ports: dict[int, int]
) -> None:
    nodes = [facts(rank, "127.0.0.1", f"127.0.0.{rank + 2}") for rank in range(4)]
    found = addresses.ask(transport, nodes, ports, timeout_s=60)
    assert not found.silent
    assert len(found.links) == 12
    for (_, target), link in found.links.items():
        assert not link.failed
        # the second address may still be under way when the first one is known
        assert link.seconds.keys() <= {"127.0.0.1", f"127.0.0.{target + 2}"}
        assert link.seconds


@pytest.mark.process
def test_a_node_that_never_listens_is_not_tried(
    transport: Transport, ports: dict[int, int]
) -> None:
    nodes = [facts(rank, "127.0.0.1") for rank in range(3)]

    class Hangs:
        def ask(self, source, requests, **limits):  # type: ignore[no-untyped-def]
            late = requests[2] | {"port": "not a port, so it ends"}
            return transport.ask(source, requests | {2: late}, **limits)

    found = addresses.ask(Hangs(), nodes, ports, timeout_s=60)  # type: ignore[arg-type]
    assert list(found.silent) == [2]
    assert "TypeError" in found.silent[2]
    assert {pair: dict(link.failed) for pair, link in found.links.items()} == {
        (0, 1): {},
        (1, 0): {},
    }
    assert choose(nodes, found).cut_off == found.silent


@pytest.mark.process
def test_an_address_that_refuses_is_told_with_the_reason(
    transport: Transport, ports: dict[int, int]
) -> None:
    nodes = [facts(rank, "127.0.0.1") for rank in range(2)]

    class Elsewhere:
        def ask(self, source, requests, **limits):  # type: ignore[no-untyped-def]
            moved = requests[1] | {"port": ports[3]}
            return transport.ask(source, requests | {1: moved}, **limits)

    found = addresses.ask(Elsewhere(), nodes, ports, timeout_s=1)  # type: ignore[arg-type]
    assert found.links[0, 1].failed == {"127.0.0.1": "connection refused"}
    assert found.links[1, 0].seconds.keys() == {"127.0.0.1"}


@pytest.mark.process
def test_an_address_where_somebody_else_answers_does_not_count(
    transport: Transport, ports: dict[int, int]
) -> None:
    """Every machine with containers has docker0 at the same address: it leads to oneself."""
    nodes = [facts(0, "127.0.0.1"), facts(1, "127.0.0.1")]
    swapped = {0: ports[0], 1: ports[1]}

    class Confused:
        def ask(self, source, requests, **limits):  # type: ignore[no-untyped-def]
            asked = {rank: dict(request) for rank, request in requests.items()}
            own = {**asked[0]["peers"][0], "port": ports[0]}
            asked[0]["peers"] = [own]
            return transport.ask(source, asked, **limits)

    found = addresses.ask(Confused(), nodes, swapped, timeout_s=1)  # type: ignore[arg-type]
    assert found.links[0, 1].failed == {"127.0.0.1": "another machine answers there"}


def test_a_few_nodes_try_all_and_many_try_some() -> None:
    assert addresses.pairs([5]) == ()
    assert addresses.pairs([0, 1, 2]) == ((0, 1), (0, 2), (1, 2))
    many = addresses.pairs(range(100))
    assert len(many) < 500
    assert {(0, rank) for rank in range(1, 100)} <= set(many)
    assert {(rank, rank + 1) for rank in range(99)} <= set(many)
    assert all(one < other for one, other in many)


def test_one_node_alone_is_not_asked_anything(transport: Transport) -> None:
    assert addresses.ask(transport, [facts(0, "10.0.0.1")], {0: 1}) == addresses.Mesh()
    assert dataclasses.asdict(addresses.Mesh()) == {"links": {}, "silent": {}}
