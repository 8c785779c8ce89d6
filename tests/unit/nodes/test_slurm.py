"""The nodes of an allocation."""

import pytest

from launcher.errors import ConfigError
from launcher.nodes import Condition, Machine, candidates, choose
from launcher.nodes.slurm import read
from launcher.specs import Cluster
from tests.nodes_request import nodes_request

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
    request = nodes_request("slurm", **asked)  # type: ignore[arg-type]
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
    assert any("not needed: host3, host4" in note for note in found.notes)


def test_more_nodes_than_the_allocation_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match="nodes=5, but cluster=slurm has 4"):
        cluster(nodes=5)


def test_spares_head_and_filters_are_those_of_the_allocation() -> None:
    found = cluster(spares=("host[1-2]",), head="host4", exclude=("host2",))
    assert [node.name for node in found.nodes] == ["host4", "host3"]
    with pytest.raises(ConfigError, match=r"`cluster\.spares` names `host9`"):
        cluster(spares=("host9",))


JOB_allocation = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "host[1-3]",
    "SLURM_TASKS_PER_NODE": "1(x3)",
}


def names(**environ: str) -> list[str]:
    return [node.name for node in read({**JOB_allocation, **environ}).nodes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host1", ["host1"]),
        ("host[1-2,5],gpu[001-002]", ["host1", "host2", "host5", "gpu001", "gpu002"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("login,c[01-02]x", ["login", "c01x", "c02x"]),
    ],
)
def test_nodes_stand_in_slurms_order(text: str, expected: list[str]) -> None:
    environ = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": text}
    assert [node.name for node in read(environ).nodes] == expected


def test_outside_of_a_job_it_says_so() -> None:
    with pytest.raises(ConfigError, match="not inside a Slurm allocation") as caught:
        read({})
    assert "salloc" in caught.value.hint


def test_a_launcher_that_srun_started_several_times_is_refused() -> None:
    with pytest.raises(ConfigError, match="4 times"):
        cluster({"SLURM_STEP_NUM_TASKS": "4"})
    assert cluster({"SLURM_STEP_NUM_TASKS": "1"}).nodes


def test_in_a_shell_on_some_nodes_of_the_job_the_tasks_of_its_step_do_not_count() -> None:
    step = {"SLURM_NTASKS": "2", "SLURM_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "host1"}
    found = read({**JOB_allocation, **step})
    assert [(node.name, node.tasks) for node in found.nodes] == [(f"host{n}", 1) for n in (1, 2, 3)]
    assert found.tasks_from == ""


def test_tasks_count_only_when_the_job_asked_for_some() -> None:
    """Without -n Slurm fills the variable in by itself, on whole nodes with the number of cores."""
    whole = {**JOB_allocation, "SLURM_TASKS_PER_NODE": "64(x3)"}
    assert [node.tasks for node in read(whole).nodes] == [1, 1, 1]
    asked = read({**JOB_allocation, "SLURM_NTASKS": "7", "SLURM_TASKS_PER_NODE": "5,1(x2)"})
    assert [node.tasks for node in asked.nodes] == [5, 1, 1]
    assert asked.tasks_from == "SLURM_TASKS_PER_NODE"


def test_tasks_per_node_say_it_best() -> None:
    asked = {"SLURM_NTASKS": "6", "SLURM_TASKS_PER_NODE": "4,1,1", "SLURM_NTASKS_PER_NODE": "2"}
    assert [node.tasks for node in read({**JOB_allocation, **asked}).nodes] == [2, 2, 2]


@pytest.mark.parametrize(
    ("environ", "gpus"),
    [
        ({}, 0),
        ({"SLURM_GPUS_PER_NODE": "8"}, 8),
        ({"SLURM_GPUS_PER_NODE": "h100:8"}, 8),
        ({"SLURM_GPUS_PER_NODE": "a100:2,v100:1"}, 3),
        ({"SLURM_GPUS_ON_NODE": "4"}, 4),
        ({"SLURM_JOB_GPUS": "2,3"}, 2),
        ({"SLURM_GPUS_PER_NODE": "8", "SLURM_GPUS_ON_NODE": "4"}, 8),
    ],
)
def test_gpus_per_node_are_read_in_every_form(environ: dict[str, str], gpus: int) -> None:
    assert {node.gpus for node in read({**JOB_allocation, **environ}).nodes} == {gpus}


def test_cores_of_the_allocation_are_read() -> None:
    found = read({**JOB_allocation, "SLURM_JOB_CPUS_PER_NODE": "16(x2),8"})
    assert [node.cpus for node in found.nodes] == [16, 16, 8]


def test_the_parts_of_a_heterogeneous_job_follow_each_other() -> None:
    environ = {
        **JOB_allocation,
        "SLURM_HET_SIZE": "2",
        "SLURM_JOB_NODELIST_HET_GROUP_0": "big1",
        "SLURM_NTASKS_HET_GROUP_0": "2",
        "SLURM_TASKS_PER_NODE_HET_GROUP_0": "2",
        "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_0": "16",
        "SLURM_JOB_NODELIST_HET_GROUP_1": "small[1-2]",
        "SLURM_NTASKS_HET_GROUP_1": "2",
        "SLURM_TASKS_PER_NODE_HET_GROUP_1": "1(x2)",
        "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_1": "4(x2)",
        "SLURM_GPUS_ON_NODE": "4",
    }
    assert [(node.name, node.tasks, node.cpus, node.gpus) for node in read(environ).nodes] == [
        ("big1", 2, 16, 4),
        ("small1", 1, 4, 0),
        ("small2", 1, 4, 0),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_JOB_NODELIST", "host[1-"),
        ("SLURM_JOB_NODELIST", ""),
        ("SLURM_JOB_NODELIST", "a,,b"),
        ("SLURM_JOB_CPUS_PER_NODE", "many"),
        ("SLURM_JOB_CPUS_PER_NODE", "4(x2)"),
        ("SLURM_NTASKS_PER_NODE", "two"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        read({**JOB_allocation, name: value})
