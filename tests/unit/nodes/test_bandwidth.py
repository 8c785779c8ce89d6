from __future__ import annotations

import socket
import sys

import pytest

from launcher.nodes import bandwidth
from launcher.nodes.addresses import NodeAddress
from launcher.nodes.bandwidth import Connection, Connections
from launcher.nodes.facts import NodeFacts
from launcher.specs import Node
from launcher.transports import Answer, Reach, create

ORDER = ("gpu0", "gpu1", "gpu2", "gpu3")


def link(one: int, other: int, **changes: object) -> Connection:
    values = {"latency_s": 0.0002, "bytes_per_s": 1e9, **changes}
    return Connection(one=f"gpu{one}", other=f"gpu{other}", **values)  # type: ignore[arg-type]


def test_equal_links_have_nothing_to_complain_about() -> None:
    assert Connections(connections=(link(0, 1), link(0, 2, bytes_per_s=6e8), link(1, 2))).odd == ()


def test_less_than_half_of_the_usual_bandwidth_is_slow() -> None:
    found = Connections(connections=(link(0, 1), link(0, 2), link(1, 2, bytes_per_s=4e8)))
    ((slow, complaint),) = found.odd
    assert slow.name == "gpu1 - gpu2"
    assert complaint == "400 MB/s, the median is 1.0 GB/s"


def test_a_late_answer_is_slow_too_but_not_one_of_a_busy_moment() -> None:
    assert Connections(connections=(link(0, 1), link(0, 2), link(1, 2, latency_s=0.004))).odd == ()
    found = Connections(connections=(link(0, 1), link(0, 2), link(1, 2, latency_s=0.05)))
    assert found.odd[0][1] == "50.0 ms round trip, the median is 0.20 ms"


def test_the_node_that_all_slow_pairs_share_is_the_culprit() -> None:
    slow = [link(1, other, bytes_per_s=1e7) for other in (2, 3)]
    fast = [link(0, 2), link(0, 3), link(2, 3)]
    found = Connections(connections=(link(0, 1, bytes_per_s=1e7), *slow, *fast, *fast))
    assert found.culprits(ORDER) == ("gpu1",)


def test_of_one_slow_pair_the_later_node_is_left_out() -> None:
    found = Connections(connections=(link(0, 1), link(0, 2), link(1, 2, problem="gpu2: timed out")))
    assert found.culprits(ORDER) == ("gpu2",)
    assert found.odd[0][1] == "not measured: gpu2: timed out"


def test_the_node_that_did_not_answer_is_left_out_and_not_its_later_peer() -> None:
    silent = link(1, 2, problem="gpu1: no answer within 9 s", blamed="gpu1")
    assert Connections(connections=(silent,)).culprits(ORDER) == ("gpu1",)


def test_a_second_measurement_counts_only_when_it_is_better() -> None:
    first = Connections(
        connections=(link(0, 1, bytes_per_s=1e8), link(0, 2), link(1, 2, problem="busy"))
    )
    again = Connections(
        connections=(link(0, 1, bytes_per_s=9e8), link(0, 2, bytes_per_s=1.0), link(1, 2))
    )
    assert bandwidth.better(first, again).connections == (
        link(0, 1, bytes_per_s=9e8),
        link(0, 2),
        link(1, 2),
    )


def free_ports(count: int) -> tuple[int, ...]:
    found = [socket.socket() for _ in range(count)]
    for each in found:
        each.bind(("", 0))
    ports = tuple(each.getsockname()[1] for each in found)
    for each in found:
        each.close()
    return ports


@pytest.mark.process
def test_real_processes_measure_each_other_through_gloo() -> None:
    ports = free_ports(4)
    nodes = [
        NodeFacts(node_rank=0, name="gpu0", free_ports=ports[:2]),
        NodeFacts(node_rank=1, name="gpu1", free_ports=ports[2:]),
        NodeFacts(node_rank=2, name="gpu2"),
    ]
    place = NodeAddress(address="127.0.0.1", interface="lo", reason="")
    node = Node(node_rank=0, name="here", address="127.0.0.1", slots=1)
    transport = create("local", Reach(nodes=(node,), python=sys.executable))
    found = bandwidth.ask(
        transport, nodes, dict.fromkeys(range(3), place), [(0, 1), (0, 2), (1, 2)], timeout_s=240
    )
    assert [each.name for each in found.connections] == [
        "gpu0 - gpu1",
        "gpu0 - gpu2",
        "gpu1 - gpu2",
    ]
    assert [each.problem for each in found.connections] == ["", "", ""]
    assert all(each.bytes_per_s > 1e5 and each.latency_s > 0 for each in found.connections)


def test_a_node_that_says_nothing_spoils_its_own_pairs_alone() -> None:
    measured = {"latency_s": 0.001, "bytes_per_s": 1e8}

    class Silent:
        def ask(self, source, requests, **limits):  # type: ignore[no-untyped-def]
            told = {rank: {"pairs": {"0 1": measured}} for rank in (0, 1)}
            answers = {rank: Answer(node_rank=rank, value=value) for rank, value in told.items()}
            return {**answers, 2: Answer(node_rank=2, problem="no answer within 9 s")}

    nodes = [NodeFacts(node_rank=rank, name=f"gpu{rank}", free_ports=(1,)) for rank in range(3)]
    place = NodeAddress(address="127.0.0.1", interface="lo", reason="")
    found = bandwidth.ask(
        Silent(),  # type: ignore[arg-type]
        nodes,
        dict.fromkeys(range(3), place),
        [(0, 1), (0, 2), (1, 2)],
        timeout_s=9,
    )
    assert [each.problem for each in found.connections] == [
        "",
        "gpu2: no answer within 9 s",
        "gpu2: no answer within 9 s",
    ]
    assert found.culprits(["gpu2", "gpu0", "gpu1"]) == ("gpu2",)
