"""Sharing one machine out over nodes."""

import pytest

from launcher.errors import PreflightError, UnknownNameError
from launcher.nodes import Machine, NodesRequest, local, resolve
from tests.nodes_request import nodes_request


def request(nodes: int, slots: int | None = None, device: str = "auto") -> NodesRequest:
    return nodes_request("local", nodes=nodes, slots=slots, device=device)


@pytest.fixture
def cuda_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "torch_has_cuda", lambda: True)


def test_without_gpus_every_node_takes_one_rank_and_its_share_of_the_cores() -> None:
    cluster = resolve(request(4), Machine(cpus=8))
    assert [node.slots for node in cluster.nodes] == [1, 1, 1, 1]
    assert {node.cpus for node in cluster.nodes} == {2}
    assert cluster.head.role == "head"


def test_slots_given_by_the_user_win() -> None:
    assert resolve(request(2, slots=3), Machine(cpus=2)).world_size == 6


@pytest.mark.usefixtures("cuda_torch")
def test_gpus_are_shared_out_over_the_nodes_without_overlap() -> None:
    cluster = resolve(request(2), Machine(cpus=8, gpus=("0", "1", "2", "3")))
    assert [node.gpus for node in cluster.nodes] == [("0", "1"), ("2", "3")]
    assert [node.slots for node in cluster.nodes] == [2, 2]


@pytest.mark.usefixtures("cuda_torch")
def test_fewer_gpus_than_nodes_go_round() -> None:
    cluster = resolve(request(4), Machine(cpus=8, gpus=("GPU-a",)))
    assert [node.gpus for node in cluster.nodes] == [("GPU-a",)] * 4


@pytest.mark.usefixtures("cuda_torch")
def test_device_cpu_leaves_the_gpus_alone() -> None:
    assert resolve(request(1, device="cpu"), Machine(cpus=1, gpus=("0",))).head.gpus == ()


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
