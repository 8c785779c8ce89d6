from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher.runs import events
from launcher.runs.events import Event
from launcher.specs import Plan, RankException, RankRecord, RankState, RunLayout, to_json
from tests import make

T0 = 1_700_000_000.0
"""When every synthetic attempt starts."""


@dataclass
class RunFolder:
    """Builds a run folder by hand; times are seconds after the start of the attempt."""

    layout: RunLayout
    attempt: int = 1
    nodes: int = 4
    _records: dict[int, RankRecord] = field(default_factory=dict)

    def begin(self, *, nodes: int = 4, attempt: int = 1, spent: float = 0.0) -> RunFolder:
        self.attempt, self.nodes, self._records = attempt, nodes, {}
        folder = self.layout.attempt(attempt)
        for path in (folder.logs, folder.ranks):
            path.mkdir(parents=True, exist_ok=True)
        text = to_json(self.plan())
        folder.plan.write_text(text)
        self.layout.plan.write_text(text)
        self.tell(
            events.AttemptStarted(
                at=T0,
                attempt=attempt,
                nodes=nodes,
                world_size=nodes,
                backend="torchrun",
                spent={"stage": spent} if spent else {},
            )
        )
        for rank in range(nodes):
            self.rank(rank)
        return self

    def plan(self) -> Plan:
        return make.plan(
            *([1] * self.nodes),
            run_id=self.layout.run_id,
            attempt=self.attempt,
            recipe="bert_finetune",
            storage_root=str(self.layout.path.parent.parent),
        )

    def rank(self, rank: int, *, at: float = 10.0, **changes: Any) -> RunFolder:
        values = {
            "attempt": self.attempt,
            "started_at": T0 + 1,
            "heartbeat_at": T0 + at,
            "progress_at": T0 + at,
            "step": 7,
            "total_steps": 100,
        }
        record = make.record(rank, **{**values, **changes})
        self._records[rank] = record
        self.layout.attempt(self.attempt).rank_record(rank).write_text(to_json(record))
        return self

    def record(self, rank: int) -> RankRecord:
        return self._records[rank]

    def events(self) -> list[Event]:
        return events.read(self.layout.attempt(self.attempt).events)

    def gone(self, *ranks: int) -> RunFolder:
        for rank in ranks:
            self.layout.attempt(self.attempt).rank_record(rank).unlink()
        return self

    def raised(self, rank: int, kind: str, message: str, *, at: float = 10.0) -> RunFolder:
        trace = (
            "Traceback (most recent call last):\n"
            '  File "/home/me/train.py", line 12, in main\n'
            "    train(model)\n"
            f"{kind}: {message}\n"
        )
        error = RankException(at=T0 + at, kind=kind, message=message, traceback=trace)
        code = 1
        if kind == "SystemExit":
            code = int(message)
        return self.rank(rank, at=at, state=RankState.FAILED, exception=error, exit_code=code)

    def signalled(self, rank: int, number: int, *, at: float = 10.0) -> RunFolder:
        return self.rank(rank, at=at, state=RankState.FAILED, signal=number)

    def log(self, rank: int, text: str) -> RunFolder:
        self.layout.attempt(self.attempt).rank_log(rank, rank).write_text(text)
        return self

    def agent_log(self, node: int, text: str) -> RunFolder:
        self.layout.attempt(self.attempt).node_log(node).write_text(text)
        return self

    def agent(self, node: int, code: int, *, at: float = 11.0) -> RunFolder:
        return self.tell(
            events.NodeExited(at=T0 + at, node_rank=node, node=f"local{node}", exit_code=code)
        )

    def lost(self, node: int, why: str, *, at: float = 32.0) -> RunFolder:
        return self.tell(events.NodeLost(at=T0 + at, node_rank=node, node=f"local{node}", why=why))

    def stopped(self, *, at: float = 12.0, by: str = "the supervisor") -> RunFolder:
        return self.tell(
            events.StopRequested(
                at=T0 + at, reason="first failure", by=by, preempted=False, grace_s=5
            )
        )

    def killed(self, *, at: float = 13.0) -> RunFolder:
        return self.tell(events.Killed(at=T0 + at, reason="not gone"))

    def hung(self, rank: int, *, at: float = 700.0, phase: str = "train") -> RunFolder:
        return self.tell(
            events.HangSuspected(
                at=T0 + at,
                rank=rank,
                node=f"local{rank}",
                phase=phase,
                step=7,
                silent_s=600.0,
                limit_s=600.0,
                stopping=True,
            )
        )

    def ended(self, state: str = "failed", *, at: float = 15.0, cause: str = "x") -> RunFolder:
        self.tell(
            events.AttemptEnded(
                at=T0 + at,
                attempt=self.attempt,
                cause=cause,
                step=7,
                committed_step=None,
                seconds=at,
                restarting=False,
                why="",
            )
        )
        return self.tell(events.RunEnded(at=T0 + at, state=state, exit_code=5))

    def restarts(self, *, at: float = 15.0) -> RunFolder:
        return self.tell(
            events.AttemptEnded(
                at=T0 + at,
                attempt=self.attempt,
                cause="node lost",
                step=7,
                committed_step=None,
                seconds=at,
                restarting=True,
                why="",
            )
        )

    def changed(self, lost: str) -> RunFolder:
        return self.tell(
            events.NodesChanged(
                at=T0, nodes=self.nodes, before=self.nodes + 1, lost=(lost,), joined=()
            )
        )

    def metrics(self, lines: list[dict[str, Any]]) -> RunFolder:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self.layout.attempt(self.attempt).metrics.write_text(text)
        return self

    def tell(self, event: Event) -> RunFolder:
        events.append(self.layout.attempt(self.attempt).events, event)
        return self


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(layout=RunLayout.of(tmp_path / "outputs", "r1"))


@pytest.fixture
def now() -> float:
    return time.time()
