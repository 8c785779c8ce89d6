"""Starts commands on the nodes of a Slurm job, each through a keeper in a step of the job."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.errors import PreflightError
from launcher.specs import Command, Node
from launcher.transports.errands import Errands
from launcher.transports.kept import Kept, Refusal
from launcher.transports.link import Link, last_messages
from launcher.transports.refusals import all_of, end_all, late, refused
from launcher.transports.requests import (
    START_WITHIN_S,
    command_job,
    common_job,
    first_words,
    keeper_words,
    question,
    read_answer,
)
from launcher.transports.srun_failures import explain, silent
from launcher.transports.srun_steps import OF_A_STEP, Step, job_variables, srun_variables, steps
from launcher.transports.switchboard import Switchboard
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
        common = question(source, timeout_s, env=job_variables(os.environ), without=OF_A_STEP)
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
        common = common_job(without=OF_A_STEP, lost_after_s=self._reach.lost_after_s)
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
