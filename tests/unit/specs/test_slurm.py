from __future__ import annotations

import pytest

from launcher.specs import Job, from_json, to_json

CLUSTER = {"SLURM_CLUSTER_NAME": "lab"}


@pytest.mark.parametrize(
    ("environ", "job_id", "task", "restarts"),
    [
        ({"SLURM_JOB_ID": "7"}, "7", "", 0),
        ({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "2"}, "7", "", 2),
        # the last task of an array has the id of the whole array
        (
            {"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "13", "SLURM_ARRAY_TASK_ID": "2"},
            "13_2",
            "2",
            0,
        ),
        # a heterogeneous job: SLURM_JOB_ID is that of its first part
        (
            {"SLURM_JOB_ID": "16", "SLURM_JOB_ID_HET_GROUP_1": "17", "SLURM_HET_SIZE": "2"},
            "16",
            "",
            0,
        ),
    ],
)
def test_a_job_is_known_by_the_name_that_requeues_just_it(
    environ: dict[str, str], job_id: str, task: str, restarts: int
) -> None:
    job = Job.from_environ({**CLUSTER, **environ})
    assert job == Job(cluster="lab", job_id=job_id, restarts=restarts)
    assert job.task == task
    assert from_json(Job, to_json(job)) == job


def test_outside_of_a_job_there_is_none() -> None:
    assert Job.from_environ({}) is None
    assert Job.from_environ({"SLURM_JOB_ID": ""}) is None


def test_only_a_later_incarnation_of_the_same_job_follows() -> None:
    first = Job(cluster="lab", job_id="7")
    again = Job(cluster="lab", job_id="7", restarts=1)
    assert again.follows(first)
    assert not first.follows(again)
    assert not again.follows(again)
    assert not again.follows(None)
    assert not again.follows(Job(cluster="lab", job_id="8"))
    assert not again.follows(Job(cluster="other", job_id="7"))
