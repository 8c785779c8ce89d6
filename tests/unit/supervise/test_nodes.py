"""Nodes that go away, come back, or are too few: with agents on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import failures, runs
from launcher.errors import PreflightError
from launcher.failures import FailureKind
from launcher.runs.events import Killed, NodeExited, NodeLost, NodesChanged, RunEnded, StopRequested
from launcher.specs import Command, Plan, RankRecord
from launcher.supervise import OutcomeState
from launcher.supervise.event_log import Journal
from launcher.supervise.nodes import Nodes
from launcher.supervise.stop_requests import Wishes
from launcher.supervise.watch import Watch
from launcher.transports import Process, Reach, create

if TYPE_CHECKING:
    Scene = Any


class Unreachable:
    """A process whose node goes away once `when` exists: nothing more is learned of it."""

    def __init__(self, process: Process, when: Path) -> None:
        self._process = process
        self._when = when

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lost(self) -> str:
        return "no sign of life for 21 s" if self._when.exists() else ""

    def poll(self) -> int | None:
        return -signal.SIGKILL if self.lost else self._process.poll()

    def signal(self, number: int) -> None: ...

    def kill(self) -> None:
        self._process.kill()  # what its keeper does by itself

    def wait(self, timeout_s: float | None = None) -> int | None:
        return self._process.wait(timeout_s)


class LosesNode1:
    """The local transport, where node 1 goes away."""

    def __init__(self, when: Path) -> None:
        self._local = create("local", Reach(nodes=(), python=sys.executable))
        self._when = when
        self.asked: list[dict[int, Mapping[str, Any]]] = []

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        started = self._local.start(commands, logs=logs)
        return {**started, 1: Unreachable(started[1], self._when)}

    def ask(
        self, source: str, requests: Mapping[int, Mapping[str, Any]], *, timeout_s: float
    ) -> dict[int, Any]:
        self.asked.append(dict(requests))
        return self._local.ask(source, requests, timeout_s=timeout_s)

    def close(self) -> None: ...


def plan_of(scene: Scene, *behaviours: str) -> Plan:
    scene.behaviours = behaviours
    scene.layout.path.mkdir(parents=True)
    scene.layout.checkpoints.mkdir()
    plan: Plan = scene.plan_for(1)
    for folder in (scene.layout.attempt(1).logs, scene.layout.attempt(1).ranks):
        folder.mkdir(parents=True)
    return plan


def test_a_lost_node_ends_the_attempt_and_is_told_with_its_reason(scene: Scene) -> None:
    plan = plan_of(scene, "train_until_stopped", "train_until_stopped", "deaf")
    gone = scene.layout.path / "gone"

    def look(records: Sequence[RankRecord]) -> None:
        if len(records) == 3 and all(each.step for each in records):
            gone.touch()

    scene.recorder.on_ranks = look
    journal = Journal(scene.layout.attempt(1).events, scene.recorder)
    with Wishes(scene.layout) as wishes:
        watch = Watch(
            plan,
            layout=scene.layout,
            config=scene.config,
            journal=journal,
            wishes=wishes,
            superseded=lambda: False,
        )
        end = watch.run(LosesNode1(gone))
    (lost,) = scene.recorder.of(NodeLost)
    assert (lost.node_rank, lost.node, lost.why) == (1, "local1", "no sign of life for 21 s")
    assert {each.node_rank for each in scene.recorder.of(NodeExited)} == {0, 2}
    (asked,) = scene.recorder.of(StopRequested)
    assert asked.by == "the supervisor"
    (killed,) = scene.recorder.of(Killed)  # the deaf one
    assert killed.reason == "not gone after the first failure"
    assert end.exit_codes[1] == -signal.SIGKILL
    failure = failures.first_failure(scene.layout, 1)
    assert failure is not None
    assert (failure.kind, failure.node) == (FailureKind.NODE_LOST, "local1")


def test_too_few_nodes_for_a_restart_end_the_run_with_5_and_their_reasons(scene: Scene) -> None:
    whole: Callable[[int], Plan] = scene.plan_for

    def plan_for(attempt: int) -> Plan:
        if attempt == 1:
            return whole(attempt)
        raise PreflightError(
            "1 of 2 hosts can be used, cluster.min_nodes=2 were asked for",
            context="host1: no answer",
            hint="mend it",
        )

    scene.plan_for = plan_for
    outcome = scene.run("peer", "agent_dies")
    assert (outcome.state, outcome.exit_code, outcome.attempts) == (OutcomeState.FAILED, 5, 1)
    report = failures.why(scene.layout)
    assert "IT CANNOT GO ON" in report
    assert "host1: no answer" in report
    assert "cluster.min_nodes=2" in scene.recorder.of(RunEnded)[0].why
    assert runs.read_status(scene.layout).state == "failed"


def test_a_restart_on_other_nodes_says_which(scene: Scene) -> None:
    whole: Callable[[int], Plan] = scene.plan_for

    def plan_for(attempt: int) -> Plan:
        scene.behaviours = ("peer,done", "agent_dies,done")[: 2 if attempt == 1 else 1]
        return whole(attempt)

    scene.plan_for = plan_for
    assert scene.run("peer,done", "agent_dies,done").exit_code == 0
    (changed,) = scene.recorder.of(NodesChanged)
    assert changed.sentence == "continues with 1 of 2 nodes: without local1"


def test_a_restart_that_cannot_start_is_tried_again(scene: Scene) -> None:
    whole: Callable[[int], Plan] = scene.plan_for

    def plan_for(attempt: int) -> Plan:
        plan: Plan = whole(attempt)
        if attempt != 2:
            return plan
        commands = tuple(replace(each, argv=("/no/such/program",)) for each in plan.commands)
        return replace(plan, commands=commands)

    scene.plan_for = plan_for
    outcome = scene.run("agent_dies,done")
    assert (outcome.exit_code, outcome.attempts) == (0, 3)
    failure = failures.first_failure(scene.layout, 2)
    assert failure is not None
    assert (failure.kind, "/no/such/program" in failure.detail) == (FailureKind.NODE_LOST, True)


def test_leftovers_are_ended_where_an_earlier_attempt_may_have_left_some(scene: Scene) -> None:
    plan = plan_of(scene, "done", "done")
    transport = LosesNode1(scene.layout.path / "never")
    env = {"LAUNCHER_RUN_ID": "r1", "LAUNCHER_RUN_DIR": str(scene.layout.path)}
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, **env}
    )
    over_ssh = replace(plan, transport="ssh", cluster=replace(plan.cluster, source="hostfile"))
    Nodes(transport, over_ssh, scene.layout).end_leftovers()
    Nodes(transport, replace(plan, attempt=2), scene.layout).end_leftovers()
    assert not transport.asked
    Nodes(transport, replace(over_ssh, attempt=2), scene.layout).end_leftovers()
    assert [set(each) for each in transport.asked] == [{0, 1}]
    assert orphan.wait(30) == -signal.SIGKILL
