"""Texts that Slurm 22.05 wrote."""

from __future__ import annotations

import pytest

from launcher.transports.srun_failures import explain, silent

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
Python 3.8.18 is too old: it takes 3.10 or newer
srun: error: host1: task 0: Exited with exit code 1
"""


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (NO_GPUS, "Unable to create step for job 7: Insufficient GRES", "--gpus-per-node=8"),
        (NODE_IS_DOWN, "failed on node host2: Communication connection failure", "sinfo -N -l"),
        (NO_PYTHON, "it has no `/no/python`", "cluster.python="),
        (TOO_OLD, "Python 3.8.18 is too old: it takes 3.10 or newer", "cluster.python="),
        ("", "the step ended at once", "srun --overlap hostname"),
    ],
)
def test_every_failure_of_srun_says_what_to_do(words: str, problem: str, hint: str) -> None:
    failure = explain("/no/python", words)
    assert problem in failure.problem
    assert hint in failure.hint


def test_silence_is_told_with_its_length() -> None:
    assert silent(5).problem == "no answer within 5 s"
