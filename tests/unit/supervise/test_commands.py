"""A node that is lost while its command runs: with agents on this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launcher import failures
from launcher.failures import FailureKind
from launcher.runs.events import Killed, NodeExited, NodeLost, StopRequested
from launcher.specs import Command, Plan, RankRecord, to_json
from launcher.specs.secrets import RUN_SECRET
from launcher.supervise.commands import Commands
from launcher.supervise.event_log import EventLog
from launcher.supervise.stop_requests import StopRequests
from launcher.supervise.watch import AttemptWatch
from launcher.transports import Process, Reach, create

pytestmark = pytest.mark.process

if TYPE_CHECKING:
    Scene = Any


class Unreachable:
    """A process whose node goes away once `when` exists: nothing more is known of it."""

    def __init__(self, process: Process, when: Path) -> None:
        self._process = process
        self._when = when

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lost(self) -> str:
        return "no heartbeat for 21 s" if self._when.exists() else ""

    def poll(self) -> int | None:
        return -signal.SIGKILL if self.lost else self._process.poll()

    def signal(self, number: int) -> None: ...

    def kill(self) -> None:
        self._process.kill()  # as its node agent does by itself

    def wait(self, timeout_s: float | None = None) -> int | None:
        return self._process.wait(timeout_s)


class LosesNode1:
    """The local transport, where node 1 goes away."""

    def __init__(self, when: Path) -> None:
        self._local = create("local", Reach(nodes=(), python=sys.executable))
        self._when = when

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        started = self._local.start(commands, logs=logs)
        return {**started, 1: Unreachable(started[1], self._when)}

    def ask(
        self,
        source: str,
        requests: Mapping[int, Mapping[str, Any]],
        *,
        timeout_s: float,
        ready_within_s: float | None = None,
    ) -> dict[int, Any]:
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


def test_a_lost_node_ends_the_attempt_and_is_reported_with_its_reason(scene: Scene) -> None:
    plan = plan_of(scene, "train_until_stopped", "train_until_stopped", "deaf")
    gone = scene.layout.path / "gone"

    def look(records: Sequence[RankRecord]) -> None:
        if len(records) == 3 and all(each.step for each in records):
            gone.touch()

    scene.recorder.on_ranks = look
    event_log = EventLog(scene.layout, scene.recorder)
    event_log.start_attempt(plan)
    with StopRequests(scene.layout) as stop_requests:
        attempt = AttemptWatch(
            Commands(plan, LosesNode1(gone), scene.layout, event_log),
            layout=scene.layout,
            config=scene.config,
            event_log=event_log,
            stop_requests=stop_requests,
            superseded=lambda: False,
        ).run()
    (lost,) = scene.recorder.of(NodeLost)
    assert (lost.node_rank, lost.node, lost.why) == (1, "local1", "no heartbeat for 21 s")
    assert {each.node_rank for each in scene.recorder.of(NodeExited)} == {0, 2}
    (asked,) = scene.recorder.of(StopRequested)
    assert asked.by == "the supervisor"
    (killed,) = scene.recorder.of(Killed)  # the deaf one
    assert killed.reason == "did not exit after the first failure"
    assert attempt.exit_codes[1] == -signal.SIGKILL
    failure = failures.first_failure(scene.layout, 1)
    assert failure is not None
    assert (failure.kind, failure.node) == (FailureKind.NODE_LOST, "local1")


class Remembers:
    """A transport that starts nothing and remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[Command] = []

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        self.given += commands
        return {}

    def ask(
        self,
        source: str,
        requests: Mapping[int, Mapping[str, Any]],
        *,
        timeout_s: float,
        ready_within_s: float | None = None,
    ) -> dict[int, Any]:
        return {}

    def close(self) -> None: ...


def test_the_commands_of_each_start_get_a_secret_that_is_not_in_the_plan(scene: Scene) -> None:
    plan = plan_of(scene, "train", "train")
    event_log, transport = EventLog(scene.layout, scene.recorder), Remembers()
    for _ in range(2):
        Commands(plan, transport, scene.layout, event_log).start()
    first, same, second, _ = (each.env[RUN_SECRET] for each in transport.given)
    assert first == same != second
    assert len(bytes.fromhex(first)) == 32
    assert RUN_SECRET not in to_json(plan)
