"""What Horovod's ranks are told about their places."""

from __future__ import annotations

from launcher.runtime.horovod_meeting import horovod_variables
from launcher.runtime.meeting import Endpoint

SLOTS = (2, 1, 3)


def told(node: int, local_rank: int) -> dict[str, str]:
    return horovod_variables(SLOTS, node, local_rank, Endpoint(address="127.0.0.1", port=5))


def test_ranks_are_dealt_out_node_by_node() -> None:
    ranks = [told(node, local)["HOROVOD_RANK"] for node in range(3) for local in range(SLOTS[node])]
    assert ranks == ["0", "1", "2", "3", "4", "5"]
    assert told(2, 2)["HOROVOD_SIZE"] == "6"
    assert told(2, 2)["HOROVOD_LOCAL_SIZE"] == "3"


def test_cross_ranks_count_only_the_nodes_that_have_such_a_local_rank() -> None:
    second = told(2, 1)
    assert (second["HOROVOD_CROSS_RANK"], second["HOROVOD_CROSS_SIZE"]) == ("1", "2")
    third = told(2, 2)
    assert (third["HOROVOD_CROSS_RANK"], third["HOROVOD_CROSS_SIZE"]) == ("0", "1")


def test_gloo_is_asked_for_aloud() -> None:
    assert told(0, 0)["HOROVOD_CONTROLLER"] == "gloo"
    assert told(0, 0)["HOROVOD_GLOO_RENDEZVOUS_PORT"] == "5"
