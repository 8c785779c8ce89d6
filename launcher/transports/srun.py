"""Starts commands on the nodes of a Slurm job, each through a node agent in a step of the job."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.errors import PreflightError
from launcher.specs import Command, Node, slurm
from launcher.transports.calls import Barrier, Calls
from launcher.transports.channel import (
    Channel,
    RemoteProcess,
    StartError,
    last_line,
)
from launcher.transports.poller import Poller
from launcher.transports.requests import (
    START_WITHIN_S,
    agent_argv,
    agent_input,
    command_job,
    command_settings,
    limits,
    no_answer,
    question_settings,
    read_answer,
)
from launcher.transports.start_errors import (
    OTHER_PYTHON,
    TOO_OLD,
    Explanation,
    all_of,
    end_all,
    late,
    refused,
)
from launcher.transports.transport import Answer, Process, Reach

_MOST_STEPS_TOGETHER = 8
_STEP_WITHIN_S = 15.0
"""Until the last node of a step has started it, on top of the time for a question."""
_ERROR_LINE = re.compile(r"^(?:srun|slurmstepd)[^:]*: (?:error: |fatal: )+(.*)$", re.MULTILINE)
_CANNOT_EXECUTE = "execve()"
_SHOW_NODES = "`sinfo -N -l` shows which node is down"
_SAME_GPUS = "request the same number of GPUs on each node: sbatch --gpus-per-node=8"
_HINTS = (
    ("nvalid job id", "the allocation has ended: `squeue --me`"),
    ("already completing", "the allocation is about to end"),
    ("GRES", _SAME_GPUS),
    ("gres", _SAME_GPUS),
    ("Node failure", _SHOW_NODES),
    ("not available", _SHOW_NODES),
    ("Communication connection failure", _SHOW_NODES),
    ("overlap", "use Slurm 20.11 or newer"),
)
"""Words in the messages of srun -> what to do."""


class SrunTransport:
    """Reaches the nodes of the allocation that it runs in, with one `srun` for all that are alike.

    Commands do not get the variables of their step. They see the job as the batch script does, so
    no program mistakes itself for a task of Slurm's.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._nodes = {node.node_rank: node for node in reach.nodes}
        self._poller = Poller(reach.lost_after_s)
        self._calls = Calls(_MOST_STEPS_TOGETHER)

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        for log in logs.values():
            log.parent.mkdir(parents=True, exist_ok=True)
        by_node = {self._nodes[each.node_rank]: each for each in commands}
        processes: list[RemoteProcess] = []
        for step in steps(by_node, os.environ):
            processes += self._start_step(step, by_node, logs)
        deadline = time.monotonic() + START_WITHIN_S
        failed: dict[str, PreflightError] = {}  # by message: Slurm refuses a step for all its nodes
        for each in processes:
            log = logs[each.node.node_rank]
            try:
                each.wait_for_start(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                error = late(each.node, log, START_WITHIN_S)
                failed[error.message] = error
            except StartError as why:
                error = self._refused(each, why, log)
                failed[error.message] = error
        if failed:
            end_all(processes)
            raise all_of(list(failed.values()))
        return {each.node.node_rank: each for each in processes}

    def ask(
        self,
        source: str,
        requests: Mapping[int, Mapping[str, Any]],
        *,
        timeout_s: float,
        ready_within_s: float | None = None,
    ) -> dict[int, Answer]:
        asked = {self._nodes[node_rank]: request for node_rank, request in requests.items()}
        env = job_variables(os.environ)
        settings = question_settings(
            source, timeout_s, ready_within_s, env=env, without=slurm.OF_A_STEP
        )
        together = steps(asked, os.environ)
        answers = self._ask_all(together, settings, asked)
        # A node that is down keeps Slurm from starting the step on the other nodes as well.
        alone = [
            replace(step, nodes=(node,))
            for step in together
            for node in step.nodes
            if len(step.nodes) > 1 and answers[node.node_rank].hint
        ]
        return answers | self._ask_all(alone, settings, asked) if alone else answers

    def close(self) -> None:
        self._poller.close()
        self._calls.close()

    def _ask_all(
        self,
        asking: Sequence[Step],
        settings: Mapping[str, Any],
        requests: Mapping[Node, Mapping[str, Any]],
    ) -> dict[int, Answer]:
        barrier = None
        if settings["ready_within_s"] is not None:
            barrier = Barrier({node.name: node.node_rank for step in asking for node in step.nodes})
        with ThreadPoolExecutor(len(asking) if barrier else _MOST_STEPS_TOGETHER) as pool:
            of_steps = list(
                pool.map(lambda step: self._ask_step(step, settings, requests, barrier), asking)
            )
        return {answer.node_rank: answer for answers in of_steps for answer in answers}

    def _ask_step(
        self,
        step: Step,
        settings: Mapping[str, Any],
        requests: Mapping[Node, Mapping[str, Any]],
        barrier: Barrier | None,
    ) -> list[Answer]:
        names = [node.name for node in step.nodes]
        try:
            call = self._calls.run(
                step.argv(agent_argv(self._reach.python)),
                agent_input(
                    "", settings, {node.name: {"request": requests[node]} for node in step.nodes}
                ),
                names,
                limits(settings, overtime_s=_STEP_WITHIN_S),
                barrier=barrier,
                env=srun_variables(os.environ),
            )
        finally:
            if barrier is not None:
                barrier.leave(names)
        late = call.code is None
        explanation = silent(settings) if late else explain(self._reach.python, call.stderr)
        return [
            read_answer(node.node_rank, call, node.name, settings)
            if node.name in call.replies
            else Answer(
                node_rank=node.node_rank, problem=explanation.problem, hint=explanation.hint
            )
            for node in step.nodes
        ]

    def _start_step(
        self, step: Step, commands: Mapping[Node, Command], logs: Mapping[int, Path]
    ) -> list[RemoteProcess]:
        settings = command_settings(without=slurm.OF_A_STEP, lost_after_s=self._reach.lost_after_s)
        env = job_variables(os.environ)
        jobs = {
            node.name: command_job(commands[node], logs[node.node_rank], env) for node in step.nodes
        }
        channel = Channel(
            step.argv(agent_argv(self._reach.python)),
            agent_input("", settings, jobs),
            srun_variables(os.environ),
        )
        processes = [RemoteProcess(node, commands[node], channel) for node in step.nodes]
        self._poller.add(channel, processes)
        return processes

    def _refused(self, process: RemoteProcess, error: StartError, log: Path) -> PreflightError:
        if error.kind != "connection":
            return refused(process, error, log)
        explanation = explain(self._reach.python, process.channel.stderr())
        return PreflightError(f"srun: {explanation.problem}", hint=explanation.hint)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Nodes that one srun can reach: Slurm takes one number of GPUs and one part of the job."""

    nodes: tuple[Node, ...]
    gpus: int = 0
    """Per node; 0 leaves it to Slurm."""
    het_group: str = ""

    def argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the command that runs `argv` once on each node."""
        count = len(self.nodes)
        return (
            "srun",
            f"--nodes={count}",
            f"--ntasks={count}",
            "--ntasks-per-node=1",
            f"--nodelist={','.join(node.name for node in self.nodes)}",
            *((f"--het-group={self.het_group}",) if self.het_group else ()),
            *self._gpu_options(),
            "--job-name=launcher",
            "--overlap",  # the whole job is ours, and mpirun starts steps of its own
            "--export=ALL",  # whatever `sbatch --export` was
            "--chdir=/",
            "--cpu-bind=none",
            "--mpi=none",
            # The supervisor decides what the end of one task means.
            "--kill-on-bad-exit=0",
            "--no-kill",
            "--wait=0",
            *argv,
        )

    def _gpu_options(self) -> tuple[str, ...]:
        # By default, a step of a job that requested a total, or GPUs per task, gets one GPU on all
        # nodes but one. For a single node only the total works, whatever the job requested.
        if not self.gpus:
            return ()
        name = "gpus" if len(self.nodes) == 1 else "gpus-per-node"
        return (f"--{name}={self.gpus}",)


def steps(nodes: Iterable[Node], environ: Mapping[str, str]) -> list[Step]:
    """Return the fewest steps that reach all `nodes`.

    Raises:
        PreflightError: `srun` is not installed here.
        ConfigError: this process is not in a Slurm job.
    """
    if shutil.which("srun") is None:
        raise PreflightError(
            "this machine has no `srun`",
            hint="put Slurm's commands on PATH, or use cluster=hostfile",
        )
    slurm.require_allocation(environ)
    has_gpus = any(name.startswith(slurm.OF_JOBS_WITH_GPUS) for name in environ)
    groups = _het_groups(environ)
    alike: dict[tuple[int, str], list[Node]] = {}
    for node in nodes:
        gpus = len(node.gpus) if has_gpus else 0
        alike.setdefault((gpus, groups.get(node.name, "")), []).append(node)
    return [
        Step(nodes=tuple(members), gpus=gpus, het_group=group)
        for (gpus, group), members in alike.items()
    ]


def _het_groups(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part that each node of a heterogeneous job belongs to."""
    suffixes = slurm.part_suffixes(environ)
    return {
        host: str(number)
        for number, suffix in enumerate(suffixes)
        if suffix
        for host in slurm.JobPart(environ=environ, suffix=suffix).hosts()
    }


def job_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the job, without those of a step."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(slurm.PREFIX) and not name.startswith(slurm.OF_A_STEP_ONLY)
    }


def srun_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of srun itself.

    It would apply what the job requested to our step: tasks per node, cores and GPUs per task,
    exclusive use.
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(slurm.REQUESTS) or name.startswith(slurm.NOT_REQUESTS)
    }


def explain(python: str, stderr: str) -> Explanation:
    """Explain what srun wrote when a node agent did not answer."""
    if _CANNOT_EXECUTE in stderr:
        return Explanation(
            problem=f"it has no `{python}`",
            hint=f"install the same environment on all nodes, at the same path, or {OTHER_PYTHON}",
        )
    if TOO_OLD in stderr:
        line = next(line for line in stderr.splitlines() if TOO_OLD in line)
        return Explanation(problem=line, hint=OTHER_PYTHON)
    errors = _ERROR_LINE.findall(stderr)
    problem = errors[0] if errors else last_line(stderr) or "the step ended without a message"
    hints = (hint for words, hint in _HINTS if words in stderr)
    return Explanation(problem=problem, hint=next(hints, "try it by hand: srun --overlap hostname"))


def silent(settings: Mapping[str, Any]) -> Explanation:
    """Explain that neither a node agent nor srun reported anything."""
    return Explanation(problem=no_answer(settings), hint=_SHOW_NODES)
