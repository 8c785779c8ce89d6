from __future__ import annotations

from dataclasses import replace

from launcher.plan.crowding import crowded, notes
from launcher.specs import Cluster, Node


def node(rank: int, slots: int, cpus: int, gpus: tuple[str, ...] = ()) -> Node:
    return Node(
        node_rank=rank, name=f"n{rank}", address=f"10.0.0.{rank}", slots=slots, cpus=cpus, gpus=gpus
    )


def cluster(*nodes: Node, source: str = "local") -> Cluster:
    return Cluster(nodes=nodes, source=source)


def test_ranks_that_outnumber_the_cores_of_a_cpu_node_are_noted() -> None:
    (note,) = notes(cluster(node(0, 1000, 2)))
    assert note.startswith("1000 ranks share 2 cores on n0: ")
    assert notes(cluster(node(0, 2, 2), node(1, 8, 2, gpus=("0",)))) == ()


def test_nodes_alike_share_a_sentence() -> None:
    found = notes(cluster(*(node(rank, 4, 2) for rank in range(5)), node(5, 3, 1)))
    assert [note.partition(":")[0] for note in found] == [
        "4 ranks share 2 cores on each of n0, n1, n2 and 2 more",
        "3 ranks share 1 core on n5",
    ]


def test_nodes_that_pretend_or_that_nobody_asked_are_left_out() -> None:
    many = cluster(node(0, 1000, 1))
    assert notes(replace(many, source="sim")) == ()
    assert notes(replace(many, source="hostfile")) == ()
    assert notes(replace(many, source="slurm"))


def test_how_many_a_core_may_carry_can_be_said() -> None:
    assert crowded(cluster(node(0, 128, 2)), ranks_per_core=64) == ()
    assert crowded(cluster(node(0, 129, 2)), ranks_per_core=64)
