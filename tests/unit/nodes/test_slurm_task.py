"""Of a step with several tasks: a launcher in each task, or one in a shell that a person uses."""

from __future__ import annotations

import os

import pytest

from launcher.errors import ConfigError
from launcher.nodes.slurm_task import Caller, is_task_of_several, refuse_many_launchers

FOUR = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0", "SLURM_TASK_PID": "17"}
IN_PTY = {**FOUR, "SLURM_PTY_PORT": "40000"}


@pytest.mark.parametrize(
    ("environ", "caller"),
    [
        pytest.param(FOUR, Caller(with_task=True), id="srun -n4 python"),
        pytest.param(FOUR, Caller(with_task=False), id="srun -n4 timeout 1h python"),
        pytest.param(IN_PTY, Caller(has_terminal=True), id="srun -n4 --pty python"),
        pytest.param(
            {**IN_PTY, "SLURM_PROCID": "2"}, Caller(with_task=False), id="another task of --pty"
        ),
    ],
)
def test_a_task_of_several_is_refused(environ: dict[str, str], caller: Caller) -> None:
    with pytest.raises(ConfigError, match="srun started the launcher 4 times"):
        refuse_many_launchers(environ, caller)


@pytest.mark.parametrize(
    ("environ", "caller"),
    [
        pytest.param({}, Caller(), id="salloc"),
        pytest.param({**FOUR, "SLURM_STEP_NUM_TASKS": "1"}, Caller(), id="srun -n1 python"),
        pytest.param(IN_PTY, Caller(has_terminal=True, with_task=False), id="typed in a shell"),
        pytest.param(IN_PTY, Caller(with_task=False), id="setsid in a shell"),
        pytest.param(FOUR, Caller(has_terminal=True, with_task=False), id="tmux in a task"),
        pytest.param(IN_PTY, Caller(in_batch_script=True), id="sbatch from such a shell"),
    ],
)
def test_a_launcher_that_runs_once_is_not(environ: dict[str, str], caller: Caller) -> None:
    assert not is_task_of_several(environ, caller)


def test_this_process_is_in_the_group_of_itself_and_in_no_batch_script() -> None:
    own = Caller.here({"SLURM_TASK_PID": str(os.getpid())})
    assert own.with_task
    assert not own.in_batch_script
    assert not Caller.here({}).with_task
    assert not Caller.here({"SLURM_TASK_PID": "no number"}).with_task
