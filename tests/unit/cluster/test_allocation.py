"""What Slurm says of a job in its environment."""

import pytest

from launcher.cluster.allocation import read
from launcher.errors import ConfigError

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "host[1-3]", "SLURM_TASKS_PER_NODE": "1(x3)"}


def names(**environ: str) -> list[str]:
    return [node.name for node in read({**JOB, **environ}).nodes]


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
    with pytest.raises(ConfigError, match="not inside an allocation") as caught:
        read({})
    assert "salloc" in caught.value.hint


def test_a_launcher_that_srun_started_several_times_is_refused() -> None:
    with pytest.raises(ConfigError, match="4 times"):
        read({**JOB, "SLURM_STEP_NUM_TASKS": "4"})
    assert read({**JOB, "SLURM_STEP_NUM_TASKS": "1"}).nodes


def test_tasks_count_only_when_the_job_asked_for_some() -> None:
    """Without -n Slurm fills the variable in by itself, on whole nodes with the number of cores."""
    whole = {**JOB, "SLURM_TASKS_PER_NODE": "64(x3)"}
    assert [node.tasks for node in read(whole).nodes] == [1, 1, 1]
    asked = read({**JOB, "SLURM_NTASKS": "7", "SLURM_TASKS_PER_NODE": "5,1(x2)"})
    assert [node.tasks for node in asked.nodes] == [5, 1, 1]
    assert asked.tasks_from == "SLURM_TASKS_PER_NODE"


def test_tasks_per_node_say_it_best() -> None:
    asked = {"SLURM_NTASKS": "6", "SLURM_TASKS_PER_NODE": "4,1,1", "SLURM_NTASKS_PER_NODE": "2"}
    assert [node.tasks for node in read({**JOB, **asked}).nodes] == [2, 2, 2]


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
    assert {node.gpus for node in read({**JOB, **environ}).nodes} == {gpus}


def test_cores_of_the_allocation_are_read() -> None:
    found = read({**JOB, "SLURM_JOB_CPUS_PER_NODE": "16(x2),8"})
    assert [node.cpus for node in found.nodes] == [16, 16, 8]


def test_the_parts_of_a_heterogeneous_job_follow_each_other() -> None:
    environ = {
        **JOB,
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
        read({**JOB, name: value})
