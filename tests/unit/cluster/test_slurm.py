"""The nodes of an allocation."""

import pytest

from launcher.cluster import ClusterRequest, Condition, Machine, candidates, choose
from launcher.errors import ConfigError
from launcher.specs import Cluster

JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "host[1-4]",
    "SLURM_TASKS_PER_NODE": "1(x4)",
    "SLURM_JOB_CPUS_PER_NODE": "16(x4)",
}
PACKED = {"SLURM_NTASKS": "8", "SLURM_TASKS_PER_NODE": "5,1(x3)"}


def cluster(
    environ: dict[str, str] | None = None,
    conditions: dict[str, Condition] | None = None,
    **asked: object,
) -> Cluster:
    request = ClusterRequest(source="slurm", **asked)  # type: ignore[arg-type]
    offered = candidates(request, Machine(cpus=1), {**JOB, **(environ or {})})
    return choose(offered, conditions, request)


def slots(found: Cluster) -> list[int]:
    return [node.slots for node in found.nodes]


def test_nodes_have_the_names_that_slurm_gives_them_and_their_cores() -> None:
    found = cluster()
    assert [(node.name, node.cpus, node.slots) for node in found.nodes] == [
        (f"host{n}", 16, 1) for n in (1, 2, 3, 4)
    ]
    assert found.source == "slurm"


def test_tasks_are_the_slots_without_gpus_and_the_packing_is_told() -> None:
    found = cluster(PACKED)
    assert slots(found) == [5, 1, 1, 1]
    assert any("SLURM_TASKS_PER_NODE: 5, 1, 1, 1" in note for note in found.notes)
    assert any("--ntasks-per-node" in note for note in found.notes)


def test_the_command_line_wins_over_the_tasks() -> None:
    found = cluster(PACKED, slots=2)
    assert slots(found) == [2, 2, 2, 2]
    assert found.notes == ()


def test_gpus_win_over_the_tasks_and_the_difference_is_told() -> None:
    gpus = {"SLURM_GPUS_PER_NODE": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NTASKS": "8"}
    found = cluster(gpus)
    assert slots(found) == [4, 4, 4, 4]
    assert found.head.gpus == ("0", "1", "2", "3")
    assert any("SLURM_NTASKS_PER_NODE" in note for note in found.notes)
    assert slots(cluster(gpus, device="cpu")) == [2, 2, 2, 2]


def test_the_devices_that_slurm_left_to_this_node_are_its_own() -> None:
    found = cluster({"SLURM_GPUS_ON_NODE": "2", "CUDA_VISIBLE_DEVICES": "6,7"})
    assert [node.gpus for node in found.nodes[:2]] == [("6", "7"), ("0", "1")]


def test_what_a_node_said_wins_over_what_slurm_says() -> None:
    told = Condition(healthy=True, cpus=16, gpus=("4", "5"), has_cuda=True)
    found = cluster({"SLURM_GPUS_PER_NODE": "2"}, {f"host{n}": told for n in (1, 2, 3, 4)}, nodes=1)
    assert found.head.gpus == ("4", "5")


def test_fewer_nodes_than_the_allocation_take_the_first_and_say_so() -> None:
    found = cluster(nodes=2)
    assert [node.name for node in found.nodes] == ["host1", "host2"]
    assert any("not used are host3, host4" in note for note in found.notes)


def test_more_nodes_than_the_allocation_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match="nodes=5, but cluster=slurm has 4"):
        cluster(nodes=5)


def test_spares_head_and_filters_are_those_of_the_allocation() -> None:
    found = cluster(spares=("host[1-2]",), head="host4", exclude=("host2",))
    assert [node.name for node in found.nodes] == ["host4", "host3"]
    with pytest.raises(ConfigError, match=r"`cluster\.spares` names `host9`"):
        cluster(spares=("host9",))
