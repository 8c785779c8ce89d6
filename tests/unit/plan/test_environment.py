"""The variables that a node's command carries."""

from __future__ import annotations

from dataclasses import replace

from launcher.plan.environment import EnvironmentRequest, of_nodes
from launcher.specs import Cluster, Node

GPU1 = Node(node_rank=0, name="gpu1", address="10.0.0.1", interface="eth0", slots=1)
GPU2 = Node(node_rank=1, name="gpu2", address="10.0.0.2", interface="ens3", slots=1)


def variables(*nodes: Node) -> list[dict[str, str]]:
    request = EnvironmentRequest(
        run_id="demo",
        attempt=1,
        storage_root="/data",
        cluster=Cluster(nodes=nodes, source="hostfile"),
        backend="torchrun",
        recipe="script",
        grace_s=60,
        staged=False,
    )
    return list(of_nodes(request).values())


def test_every_node_is_told_the_name_of_its_own_interface() -> None:
    assert [each["GLOO_SOCKET_IFNAME"] for each in variables(GPU1, GPU2)] == ["eth0", "ens3"]


def test_nccl_is_told_the_whole_name_and_only_where_there_are_gpus() -> None:
    assert "NCCL_SOCKET_IFNAME" not in variables(GPU1, GPU2)[0]
    with_gpus = [replace(each, gpus=("0",)) for each in (GPU1, GPU2)]
    assert [each["NCCL_SOCKET_IFNAME"] for each in variables(*with_gpus)] == ["=eth0", "=ens3"]


def test_nodes_that_nobody_asked_are_left_to_find_their_interface() -> None:
    unasked = [replace(each, interface="") for each in (GPU1, GPU2)]
    assert not any("GLOO_SOCKET_IFNAME" in each for each in variables(*unasked))
