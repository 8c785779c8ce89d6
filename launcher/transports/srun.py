"""Starts commands on the nodes of a Slurm job, each through a keeper in a step of the job."""

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
from launcher.transports.calls import Errands
from launcher.transports.channel import Kept, Link, Refusal, last_messages, last_words
from launcher.transports.poller import Switchboard
from launcher.transports.requests import (
    START_WITHIN_S,
    command_job,
    common_job,
    first_words,
    keeper_words,
    question,
    read_answer,
)
from launcher.transports.start_errors import (
    OTHER_PYTHON,
    TOO_OLD,
    Failure,
    all_of,
    end_all,
    late,
    refused,
)
from launcher.transports.transport import Answer, Process, Reach

_MOST_STEPS_AT_ONCE = 8
_STEP_WITHIN_S = 15.0
"""To start a step, on top of what a question may take."""


class SrunTransport:
    """Reaches the nodes of the allocation that it runs in; all that are alike by one `srun`.

    A step's own variables do not reach the commands: they see the job as the batch script does,
    so that nothing takes itself for a task of Slurm's.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._nodes = {node.node_rank: node for node in reach.nodes}
        self._switchboard = Switchboard(reach.lost_after_s)
        self._errands = Errands()

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        for log in logs.values():
            log.parent.mkdir(parents=True, exist_ok=True)
        by_node = {self._nodes[each.node_rank]: each for each in commands}
        kept: list[Kept] = []
        for step in steps(by_node, os.environ):
            kept += self._start_step(step, by_node, logs)
        deadline = time.monotonic() + START_WITHIN_S
        failed: dict[str, PreflightError] = {}
        for each in kept:
            try:
                each.wait_for_start(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                error = late(each.node, logs[each.node.node_rank], START_WITHIN_S)
                failed[error.message] = error
            except Refusal as refusal:
                error = self._refused(each, refusal, logs[each.node.node_rank])
                failed[error.message] = error  # what Slurm refuses, it refuses for all nodes
        if failed:
            end_all(kept)
            raise all_of(list(failed.values()))
        return {each.node.node_rank: each for each in kept}

    def ask(
        self, source: str, requests: Mapping[int, Mapping[str, Any]], *, timeout_s: float
    ) -> dict[int, Answer]:
        asked = {self._nodes[node_rank]: request for node_rank, request in requests.items()}
        common = question(source, timeout_s, env=job_variables(os.environ), without=slurm.OF_A_STEP)
        together = steps(asked, os.environ)
        answers = self._ask_all(together, common, asked)
        # A node that is down keeps Slurm from starting a step on the others as well.
        alone = [
            replace(step, nodes=(node,))
            for step in together
            for node in step.nodes
            if len(step.nodes) > 1 and answers[node.node_rank].hint
        ]
        return answers | self._ask_all(alone, common, asked)

    def _ask_all(
        self,
        asking: Sequence[Step],
        common: Mapping[str, Any],
        requests: Mapping[Node, Mapping[str, Any]],
    ) -> dict[int, Answer]:
        with ThreadPoolExecutor(_MOST_STEPS_AT_ONCE) as pool:
            found = list(pool.map(lambda step: self._ask_step(step, common, requests), asking))
        return {answer.node_rank: answer for answers in found for answer in answers}

    def _ask_step(
        self, step: Step, common: Mapping[str, Any], requests: Mapping[Node, Mapping[str, Any]]
    ) -> list[Answer]:
        jobs = {node.name: {"request": requests[node]} for node in step.nodes}
        timeout_s = common["timeout_s"]
        began = time.monotonic()
        errand = self._errands.run(
            step.argv(keeper_words(self._reach.python)),
            first_words("", common, jobs),
            timeout_s=timeout_s + _STEP_WITHIN_S,
            env=srun_variables(os.environ),
        )
        seconds = time.monotonic() - began
        messages = last_messages(errand.output)
        late = errand.code is None
        failure = silent(timeout_s) if late else explain(self._reach.python, errand.words)
        return [
            read_answer(node.node_rank, messages[node.name], timeout_s=timeout_s, seconds=seconds)
            if node.name in messages
            else Answer(node_rank=node.node_rank, problem=failure.problem, hint=failure.hint)
            for node in step.nodes
        ]

    def close(self) -> None:
        self._switchboard.close()
        self._errands.close()

    def _start_step(
        self, step: Step, commands: Mapping[Node, Command], logs: Mapping[int, Path]
    ) -> list[Kept]:
        common = common_job(without=slurm.OF_A_STEP, lost_after_s=self._reach.lost_after_s)
        env = job_variables(os.environ)
        jobs = {
            node.name: command_job(commands[node], logs[node.node_rank], env) for node in step.nodes
        }
        link = Link(
            step.argv(keeper_words(self._reach.python)),
            first_words("", common, jobs),
            srun_variables(os.environ),
        )
        kept = [Kept(node, commands[node], link) for node in step.nodes]
        self._switchboard.add(link, kept)
        return kept

    def _refused(self, kept: Kept, refusal: Refusal, log: Path) -> PreflightError:
        if refusal.kind != "connection":
            return refused(kept, refusal, log)
        failure = explain(self._reach.python, kept.link.words())
        return PreflightError(f"srun: {failure.problem}", hint=failure.hint)


# Which steps it takes to reach nodes of a Slurm job, and the command line of each.
@dataclass(frozen=True, kw_only=True)
class Step:
    """Nodes that one srun can reach: Slurm takes one number of GPUs, and one part of the job."""

    nodes: tuple[Node, ...]
    gpus: int = 0
    """Per node; 0 leaves it to Slurm."""
    het_group: str = ""

    def argv(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return what runs `words` once on each node."""
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
            "--overlap",  # the job is ours, and mpirun starts steps of its own
            "--export=ALL",  # whatever sbatch --export= said
            "--chdir=/",
            "--cpu-bind=none",
            "--mpi=none",
            # One task more or less is for the supervisor to judge.
            "--kill-on-bad-exit=0",
            "--no-kill",
            "--wait=0",
            *words,
        )

    def _gpu_options(self) -> tuple[str, ...]:
        # Left to itself, a step of a job that asked for a total or for GPUs per task gets one GPU
        # on all nodes but one. For a single node only the total works, however the job asked.
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
            "there is no `srun` on this machine",
            hint="load Slurm's commands, or use cluster=hostfile",
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
    """Return what the job, rather than a step of it, has told this process."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(slurm.PREFIX) and not name.startswith(slurm.OF_A_STEP_ONLY)
    }


def srun_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of srun itself.

    What the job was asked for, srun would take for wishes about our step: tasks per node, cores
    and GPUs per task, exclusive use.
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(slurm.REQUESTS) or name.startswith(slurm.NOT_REQUESTS)
    }


# What srun says when it fails, and what a person can do about it.
_COMPLAINT = re.compile(r"^(?:srun|slurmstepd)[^:]*: (?:error: |fatal: )+(.*)$", re.MULTILINE)
_LEAVES_NOTHING_TO_ASK = "execve()"
_WHO_IS_DOWN = "`sinfo -N -l` shows which node is down"
_HINTS = (
    ("nvalid job id", "the allocation has ended: `squeue --me`"),
    ("already completing", "the allocation is about to end"),
    ("GRES", "ask for the same number of GPUs on each node: sbatch --gpus-per-node=8"),
    ("gres", "ask for the same number of GPUs on each node: sbatch --gpus-per-node=8"),
    ("Node failure", _WHO_IS_DOWN),
    ("not available", _WHO_IS_DOWN),
    ("Communication connection failure", _WHO_IS_DOWN),
    ("overlap", "Slurm 20.11 or newer is needed"),
)


def explain(python: str, words: str) -> Failure:
    """Read what srun wrote when a keeper did not answer."""
    complaints = _COMPLAINT.findall(words)
    problem = complaints[0] if complaints else last_words(words) or "the step ended at once"
    if _LEAVES_NOTHING_TO_ASK in words:
        return Failure(
            problem=f"it has no `{python}`",
            hint=f"install the same environment on all nodes, at the same path, or {OTHER_PYTHON}",
        )
    if TOO_OLD in words:
        told = next(line for line in words.splitlines() if TOO_OLD in line)
        return Failure(problem=told, hint=OTHER_PYTHON)
    hints = (hint for needle, hint in _HINTS if needle in words)
    return Failure(problem=problem, hint=next(hints, "try it by hand: srun --overlap hostname"))


def silent(timeout_s: float) -> Failure:
    """Nobody said anything, neither a keeper nor srun."""
    return Failure(problem=f"no answer within {timeout_s:g} s", hint=_WHO_IS_DOWN)
