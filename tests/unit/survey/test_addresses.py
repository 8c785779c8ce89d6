from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

from launcher.survey.addresses import choose
from launcher.survey.facts import Interface, NodeFacts
from launcher.survey.mesh import Mesh, Reached


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
    places = choose(nodes, found, by_rank).places
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
        2: "no connection with gpu1 (gpu2 -> 10.0.0.1: no answer)",
    }
    assert {(gap.asker, gap.target) for gap in found.gaps} == {(1, 2), (2, 1)}


def test_a_node_that_nobody_reaches_is_the_one_left_out_even_as_head() -> None:
    nodes = [node(each, f"10.0.0.{each}") for each in range(4)]
    pairs = [(0, other) for other in (1, 2, 3)] + [(other, 0) for other in (1, 2, 3)]
    cut_off = choose(nodes, mesh(nodes, *pairs)).cut_off
    assert list(cut_off) == [0]
    assert cut_off[0].startswith("no connection with gpu1, gpu2, gpu3 (gpu1 -> 10.0.0.0")


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
    assert choose([only], Mesh()).places[0].reason == "not tried by others"
