from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher.runs.events import Event
from launcher.specs import (
    CheckpointPolicy,
    Cluster,
    Command,
    Node,
    Plan,
    Program,
    RankRecord,
    Rendezvous,
    RunLayout,
)
from launcher.supervise import RunResult, SuperviseConfig, run
from launcher.supervise.run_processes import reap

AGENT = Path(__file__).parent / "fake_agent.py"


class FakeGenerations:
    """Claims are files, commits are files that the fake agents write."""

    def __init__(self, layout: RunLayout) -> None:
        self._folder = layout.checkpoints
        self._folder.mkdir(parents=True, exist_ok=True)
        self.taken_by_others: set[int] = set()

    def following(self) -> int:
        return 1 + max((int(each.name[6:]) for each in self._folder.glob("claim-*")), default=0)

    def newest(self) -> int:
        return self.following() - 1

    def claim(self, attempt: int, *, info: Mapping[str, Any]) -> bool:
        (self._folder / f"claim-{attempt}").write_text(str(dict(info)))
        return attempt not in self.taken_by_others

    def newest_step(self) -> int | None:
        return max((step for _, step in self._commits()), default=None)

    def has_commit_of(self, attempt: int) -> bool:
        return any(each == attempt for each, _ in self._commits())

    def _commits(self) -> list[tuple[int, int]]:
        names = [path.name.split("-") for path in self._folder.glob("commit-*")]
        return [(int(attempt), int(step)) for _, attempt, step in names]


@dataclass
class Recorder:
    """An observer that remembers, and may act on what it sees."""

    events: list[Event] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    snapshots: list[list[RankRecord]] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    on_ranks: Callable[[Sequence[RankRecord]], None] = lambda _: None

    def attempt(self, plan: Plan) -> None:
        self.plans.append(plan)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def ranks(self, records: Sequence[RankRecord]) -> None:
        self.snapshots.append(list(records))
        self.on_ranks(records)

    def output(self, text: str) -> None:
        self.lines += text.split("\n")

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Scene:
    """A run of fake agents, one rank per node."""

    layout: RunLayout
    behaviours: tuple[str, ...] = ()
    recorder: Recorder = field(default_factory=Recorder)
    generations: FakeGenerations | None = None
    config: SuperviseConfig = field(
        default_factory=lambda: SuperviseConfig(grace_s=5, hang_timeout_s=60)
    )

    def plan_for(self, attempt: int) -> Plan:
        nodes = tuple(
            Node(node_rank=rank, name=f"local{rank}", address="127.0.0.1", slots=1)
            for rank in range(len(self.behaviours))
        )
        commands = tuple(
            Command(
                node_rank=rank,
                argv=(sys.executable, str(AGENT), str(rank), behaviour),
                env={
                    "LAUNCHER_RUN_ID": self.layout.run_id,
                    "LAUNCHER_RUN_DIR": str(self.layout.path),
                    "LAUNCHER_ATTEMPT": str(attempt),
                    "LAUNCHER_NODE_RANK": str(rank),
                },
                cwd=str(self.layout.path),
            )
            for rank, behaviour in enumerate(self.behaviours)
        )
        return Plan(
            run_id=self.layout.run_id,
            attempt=attempt,
            recipe="fake",
            storage_root=str(self.layout.path.parent.parent),
            cluster=Cluster(nodes=nodes, source="local"),
            backend="torchrun",
            transport="local",
            python="python3",
            device="cpu",
            program=Program(path=str(AGENT)),
            rendezvous=Rendezvous(address="127.0.0.1", port=20_000 + attempt),
            checkpoint=CheckpointPolicy(every_steps=0, keep=2, resume="auto"),
            commands=commands,
        )

    def run(self, *behaviours: str) -> RunResult:
        self.behaviours = behaviours
        self.layout.path.mkdir(parents=True, exist_ok=True)
        self.generations = self.generations or FakeGenerations(self.layout)
        return run(
            self.plan_for,
            layout=self.layout,
            config=self.config,
            observer=self.recorder,
            spent={"stage": 1.5},
            generations=self.generations,
        )

    def send_when_training(self, *numbers: int, gap_s: float = 0.2) -> None:
        """Send signals to this process, the supervisor, once every rank has made a step."""
        sent = threading.Event()

        def send() -> None:
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(gap_s)

        def look(records: Sequence[RankRecord]) -> None:
            ready = len(records) == len(self.behaviours) and all(each.step for each in records)
            if ready and not sent.is_set():
                sent.set()
                threading.Thread(target=send).start()

        self.recorder.on_ranks = look


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A run to be; fails when a process of it is left at the end."""
    layout = RunLayout.of(tmp_path / "outputs", "r1")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Scene(layout=layout)
    left = reap(layout)
    assert not left, f"left behind: {left}"
    assert {number: signal.getsignal(number) for number in before} == before
