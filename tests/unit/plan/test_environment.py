"""The variables that a node's command carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from launcher.plan.environment import EnvironmentRequest, notes, of_nodes
from launcher.specs import Cluster, Node

GPU1 = Node(node_rank=0, name="gpu1", address="10.0.0.1", interface="eth0", slots=1)
GPU2 = Node(node_rank=1, name="gpu2", address="10.0.0.2", interface="ens3", slots=1)


def request_of(
    *nodes: Node,
    exported: Mapping[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
) -> EnvironmentRequest:
    return EnvironmentRequest(
        run_id="demo",
        attempt=1,
        storage_root="/data",
        cluster=Cluster(nodes=nodes, source="hostfile"),
        backend="torchrun",
        recipe="script",
        grace_s=60,
        staged=True,
        extra=extra or {},
        exported=exported or {},
    )


def variables(*nodes: Node) -> list[dict[str, str]]:
    return list(of_nodes(request_of(*nodes)).values())


def test_every_node_is_told_the_name_of_its_own_interface() -> None:
    assert [each["GLOO_SOCKET_IFNAME"] for each in variables(GPU1, GPU2)] == ["eth0", "ens3"]


def test_nccl_is_told_the_whole_name_and_only_where_there_are_gpus() -> None:
    assert "NCCL_SOCKET_IFNAME" not in variables(GPU1, GPU2)[0]
    with_gpus = [replace(each, gpus=("0",)) for each in (GPU1, GPU2)]
    assert [each["NCCL_SOCKET_IFNAME"] for each in variables(*with_gpus)] == ["=eth0", "=ens3"]


def test_nodes_that_nobody_asked_are_left_to_find_their_interface() -> None:
    unasked = [replace(each, interface="") for each in (GPU1, GPU2)]
    assert not any("GLOO_SOCKET_IFNAME" in each for each in variables(*unasked))


WITH_GPUS = tuple(replace(each, gpus=("0",)) for each in (GPU1, GPU2))
DEFAULTS = (
    "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM", "PYTHONUNBUFFERED",
    "PYTHONFAULTHANDLER", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE",
)  # fmt: skip


@pytest.mark.parametrize("value", ["mine", "0", ""])
@pytest.mark.parametrize("name", DEFAULTS)
def test_an_exported_value_wins_over_a_default_on_every_node(name: str, value: str) -> None:
    request = request_of(*WITH_GPUS, exported={name: value})
    ours = [each[name] for each in variables(*WITH_GPUS)]
    assert [each[name] for each in of_nodes(request).values()] == [value, value]
    (note,) = notes(request)
    assert note.startswith(f"{name}={value} (yours; the launcher would set {ours[0]}")


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_configuration_wins_over_an_exported_value_without_a_note(name: str) -> None:
    request = request_of(*WITH_GPUS, extra={name: "theirs"}, exported={name: "mine"})
    assert [each[name] for each in of_nodes(request).values()] == ["theirs", "theirs"]
    assert notes(request) == ()


@pytest.mark.parametrize(
    "name",
    ["CUDA_VISIBLE_DEVICES", "LAUNCHER_RUN_ID", "LAUNCHER_SLOTS", "LAUNCHER_NODE_RANK"],
)
def test_what_the_plan_decides_is_not_a_default(name: str) -> None:
    request = request_of(*WITH_GPUS, exported={name: "mine"})
    assert "mine" not in [each[name] for each in of_nodes(request).values()]
    assert notes(request) == ()


def test_other_variables_are_left_to_the_transport() -> None:
    request = request_of(GPU1, exported={"MY_FLAG": "1", "HF_TOKEN": "secret"})
    assert of_nodes(request) == of_nodes(request_of(GPU1))


def test_an_exported_value_that_we_would_set_too_needs_no_note() -> None:
    assert notes(request_of(GPU1, GPU2, exported={"PYTHONUNBUFFERED": "1"})) == ()


def test_a_note_has_the_values_of_all_nodes() -> None:
    assert notes(request_of(GPU1, GPU2, exported={"GLOO_SOCKET_IFNAME": "ib0"})) == (
        "GLOO_SOCKET_IFNAME=ib0 (yours; the launcher would set eth0 or ens3)",
    )
