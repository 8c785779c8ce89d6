from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import ConfigError, PreflightError
from launcher.specs import Node
from launcher.transports.srun import Step, explain, job_variables, silent, srun_variables, steps

JOB = {"SLURM_JOB_ID": "7"}


@pytest.fixture(autouse=True)
def srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are only described here; it is enough that there is an srun."""
    program = tmp_path / "srun"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def node(number: int, gpus: int = 0) -> Node:
    names = tuple(str(index) for index in range(gpus))
    return Node(node_rank=number, name=f"n{number}", address="x", slots=1, gpus=names)


def test_one_step_reaches_all_nodes() -> None:
    (step,) = steps([node(0), node(1)], JOB)
    argv = step.argv(["python", "-c", "pass"])
    assert argv[:5] == (
        "srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--nodelist=n0,n1",
    )  # fmt: skip
    assert argv[-3:] == ("python", "-c", "pass")
    assert not [word for word in argv if "gpus" in word or "het" in word]


def test_nodes_with_different_gpus_take_a_step_each() -> None:
    job = {**JOB, "SLURM_GPUS": "17"}
    found = steps([node(0, gpus=8), node(1, gpus=1), node(2, gpus=8)], job)
    assert found == [
        Step(nodes=(node(0, 8), node(2, 8)), gpus=8),
        Step(nodes=(node(1, 1),), gpus=1),
    ]
    assert "--gpus-per-node=8" in found[0].argv([])
    assert "--gpus=1" in found[1].argv([])


def test_each_part_of_a_heterogeneous_job_takes_a_step() -> None:
    job = {
        **JOB, "SLURM_HET_SIZE": "2", "SLURM_JOB_NODELIST_HET_GROUP_0": "n0",
        "SLURM_JOB_NODELIST_HET_GROUP_1": "n[1-2]",
    }  # fmt: skip
    parts = steps([node(0), node(1), node(2)], job)
    assert [(part.het_group, part.nodes) for part in parts] == [
        ("0", (node(0),)),
        ("1", (node(1), node(2))),
    ]
    assert "--het-group=1" in parts[1].argv([])


def test_gpus_that_slurm_does_not_know_are_not_asked_for() -> None:
    (step,) = steps([node(0, gpus=8)], JOB)
    assert step.gpus == 0


def test_outside_of_a_job_there_is_nothing_to_reach() -> None:
    with pytest.raises(ConfigError, match="SLURM_JOB_ID is not set"):
        steps([node(0)], {})


def test_a_machine_without_slurm_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PreflightError, match="has no `srun`"):
        steps([node(0)], JOB)


def test_commands_see_the_job_and_no_step() -> None:
    environ = {
        **JOB, "SLURM_NTASKS": "4", "SLURM_STEP_ID": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
        "HF_TOKEN": "x",
    }  # fmt: skip
    assert job_variables(environ) == {**JOB, "SLURM_NTASKS": "4"}


def test_srun_does_not_apply_the_requests_of_the_job_to_the_step() -> None:
    of_the_job = {
        "SLURM_NTASKS_PER_NODE": "8", "SLURM_CPUS_PER_TASK": "4", "SRUN_CPUS_PER_TASK": "4",
        "SLURM_GPUS_PER_TASK": "1", "SLURM_EXACT": "1", "SLURM_EXPORT_ENV": "NONE",
    }  # fmt: skip
    kept = {
        **JOB, "SLURM_CONF": "/etc/slurm.conf", "SLURM_JOB_ID_HET_GROUP_1": "8",
        "SLURM_HET_SIZE": "2", "PATH": "/bin", "HF_TOKEN": "x",
    }  # fmt: skip
    assert srun_variables({**of_the_job, **kept}) == kept


NO_GPUS = """\
srun: error: Unable to create step for job 7: Insufficient GRES available in allocation
"""
NODE_IS_DOWN = """\
srun: error: Task launch for StepId=3.0 failed on node host2: Communication connection failure
srun: error: Application launch failed: Communication connection failure
srun: Job step aborted: Waiting up to 7 seconds for job step to finish.
"""
NO_PYTHON = """\
slurmstepd: error: execve(): /no/python: No such file or directory
srun: error: host1: task 0: Exited with exit code 2
"""


TOO_OLD = """\
Python 3.8.18 is too old: 3.11 or newer is required
srun: error: host1: task 0: Exited with exit code 1
"""


@pytest.mark.parametrize(
    ("stderr", "problem", "hint"),
    [
        (NO_GPUS, "Unable to create step for job 7: Insufficient GRES", "--gpus-per-node=8"),
        (NODE_IS_DOWN, "failed on node host2: Communication connection failure", "sinfo -N -l"),
        (NO_PYTHON, "it has no `/no/python`", "cluster.python="),
        (TOO_OLD, "Python 3.8.18 is too old: 3.11 or newer is required", "cluster.python="),
        ("", "the step ended without a message", "srun --overlap hostname"),
    ],
)
def test_every_failure_of_srun_says_what_to_do(stderr: str, problem: str, hint: str) -> None:
    failure = explain("/no/python", stderr)
    assert problem in failure.problem
    assert hint in failure.hint


def test_silence_is_reported_with_its_length() -> None:
    settings = {"timeout_s": 5.0, "ready_within_s": 20.0}
    assert silent(settings).problem == "no answer within 25 s"
