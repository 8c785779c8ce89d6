"""Did srun start this launcher, or a person in a shell that srun started?

A shell of `srun --pty bash` and all that starts in it inherit the variables of the step, so these
alone do not say. Of the tasks of such a step, only the first one has the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher import processes
from launcher.errors import ConfigError
from launcher.specs import slurm

_BATCH = ".batch]"
"""How the name of the process ends that runs the batch script of a job: `slurmstepd: [7.batch]`."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """How this process was started; by default like a task of srun."""

    has_terminal: bool = False
    """It has a controlling terminal."""
    with_task: bool = True
    """It is the task of the step, or a script that is the task runs it: an interactive shell, tmux
    and editors give each command a process group of its own."""
    in_batch_script: bool = False
    """A batch script started it, whose variables may be those of the shell that submitted it."""

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> Caller:
        own = processes.find(os.getpid())
        pid = environ.get(slurm.TASK_PID, "")
        task = processes.find(int(pid)) if pid.isdecimal() else None
        return cls(
            has_terminal=bool(own and own.has_terminal),
            with_task=bool(own and task and own.group == task.group),
            in_batch_script=bool(pid) and any(_is_batch_step(each) for each in _ancestors()),
        )


def refuse_many_launchers(
    environ: Mapping[str, str] = os.environ, caller: Caller | None = None
) -> None:
    """Refuse to be one of several launchers that one srun started.

    Raises:
        ConfigError: this process is a task of a step with several, or part of such a task.
    """
    if is_task_of_several(environ, caller or Caller.here(environ)):
        raise ConfigError(
            f"srun started the launcher {environ[slurm.STEP_TASKS]} times",
            hint="call it once, without srun: it starts the ranks on all nodes itself",
        )


def is_task_of_several(environ: Mapping[str, str], caller: Caller) -> bool:
    """Tell whether this process is a task of a step with several, or part of such a task."""
    if environ.get(slurm.STEP_TASKS, "1") == "1" or caller.in_batch_script:
        return False
    if slurm.TERMINAL in environ and environ.get(slurm.TASK) == "0":
        return caller.with_task
    return not caller.has_terminal


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 1 and (info := processes.find(pid)):
        yield pid
        pid = info.parent


def _is_batch_step(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").endswith(_BATCH.encode())
    except OSError:  # it has ended, or the system hides the processes of other users
        return False
