"""Roles and rank placement."""

from dataclasses import replace

import pytest

from launcher.specs import Cluster, Node
from launcher.specs.cluster import read_counts, write_counts


def node(rank: int, slots: int) -> Node:
    return Node(node_rank=rank, name=f"n{rank}", address="127.0.0.1", slots=slots)


def test_the_first_node_is_the_head_and_the_others_are_workers() -> None:
    cluster = Cluster(source="local", nodes=(node(0, 1), node(1, 1)))
    assert [each.role for each in cluster.nodes] == ["head", "worker"]
    assert cluster.head.name == "n0"


def test_ranks_are_dealt_out_node_by_node_with_unequal_slots() -> None:
    places = Cluster(source="local", nodes=(node(0, 2), node(1, 0), node(2, 1))).places()
    assert [(place.rank, place.local_rank, place.node.name) for place in places] == [
        (0, 0, "n0"),
        (1, 1, "n0"),
        (2, 0, "n2"),
    ]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((), ""),
        ((2,), "2"),
        ((1, 1), "1(x2)"),
        ((2, 0, 1), "2,0,1"),
        ((5, 1, 1, 1), "5,1(x3)"),
        ((1,) * 9999 + (0,), "1(x9999),0"),
    ],
)
def test_numbers_are_written_short_and_read_back(counts: tuple[int, ...], text: str) -> None:
    assert write_counts(counts) == text
    assert read_counts(text) == counts


def test_numbers_written_long_are_read_too() -> None:
    assert read_counts("1,1, 1") == (1, 1, 1)


@pytest.mark.parametrize("text", [",", "a", "2(3)", "2(x)", "2,,1", "-1", "1.5", "2(x-1)"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number such"):
        read_counts(text)


def test_ssh_connects_to_the_name_of_a_node_unless_it_has_a_destination() -> None:
    node = Node(node_rank=0, name="gpu1", address="10.0.0.1", slots=1)
    assert node.ssh_destination == "gpu1"
    assert replace(node, ssh="me@gpu1").ssh_destination == "me@gpu1"
