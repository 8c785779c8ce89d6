"""Nodes that share one machine, and nodes that do not exist."""

import pytest

from launcher.errors import ConfigError, PreflightError, UnknownNameError
from launcher.nodes import Machine, NodesRequest, require_real, resolve
from tests.nodes_request import nodes_request


def request(nodes: int, slots: int | None = None, device: str = "auto") -> NodesRequest:
    return nodes_request("local", nodes=nodes, slots=slots, device=device)


def test_without_gpus_every_node_takes_one_rank_and_its_share_of_the_cores() -> None:
    cluster = resolve(request(4), Machine(cpus=8))
    assert [node.slots for node in cluster.nodes] == [1, 1, 1, 1]
    assert {node.cpus for node in cluster.nodes} == {2}
    assert cluster.head.role == "head"


def test_slots_given_by_the_user_win() -> None:
    assert resolve(request(2, slots=3), Machine(cpus=2)).world_size == 6


def test_gpus_are_shared_out_over_the_nodes_without_overlap() -> None:
    cluster = resolve(request(2), Machine(cpus=8, gpus=("0", "1", "2", "3"), has_cuda=True))
    assert [node.gpus for node in cluster.nodes] == [("0", "1"), ("2", "3")]
    assert [node.slots for node in cluster.nodes] == [2, 2]


def test_fewer_gpus_than_nodes_go_round() -> None:
    cluster = resolve(request(4), Machine(cpus=8, gpus=("GPU-a",), has_cuda=True))
    assert [node.gpus for node in cluster.nodes] == [("GPU-a",)] * 4


def test_device_cpu_leaves_the_gpus_alone() -> None:
    assert (
        resolve(request(1, device="cpu"), Machine(cpus=1, gpus=("0",), has_cuda=True)).head.gpus
        == ()
    )


def test_device_cuda_without_a_gpu_says_where_it_looked() -> None:
    with pytest.raises(PreflightError, match="no GPU") as caught:
        resolve(request(1, device="cuda"), Machine(cpus=1))
    assert "device=cpu" in caught.value.hint


def test_an_unknown_source_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="locl") as caught:
        resolve(nodes_request("locl", nodes=1), Machine(cpus=1))
    assert "did you mean `local`" in caught.value.hint


@pytest.mark.parametrize(
    ("environ", "gpus"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "1, 3"}, ("1", "3")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f,MIG-1"}, ("GPU-8f", "MIG-1")),
    ],
)
def test_the_devices_that_a_batch_system_left_visible_count(
    environ: dict[str, str], gpus: tuple[str, ...]
) -> None:
    assert Machine.here(environ).gpus == gpus


def test_every_pretended_node_has_a_name_and_an_address_of_its_own() -> None:
    cluster = resolve(nodes_request("sim", nodes=1000, slots=8), Machine(cpus=4))
    assert len({node.name for node in cluster.nodes}) == 1000
    assert len({node.address for node in cluster.nodes}) == 1000
    assert cluster.world_size == 8000
    assert any("do not exist" in note for note in cluster.notes)


def test_cuda_gives_every_pretended_rank_a_gpu() -> None:
    request = nodes_request("sim", nodes=2, slots=8, device="cuda")
    assert len(resolve(request, Machine(cpus=4)).head.gpus) == 8


def test_nothing_can_be_started_on_them() -> None:
    with pytest.raises(ConfigError, match="do not exist") as caught:
        require_real("sim")
    assert "plan cluster=sim" in caught.value.hint
    for source in ("local", "hostfile", "slurm"):
        require_real(source)
