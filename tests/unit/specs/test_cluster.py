"""Roles and rank placement."""

from launcher.specs import Cluster, Node


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
