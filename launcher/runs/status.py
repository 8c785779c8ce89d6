"""How a run stands, from its folder alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from launcher.errors import UnknownNameError
from launcher.runs import events
from launcher.runs.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    NodesChanged,
    RunEnded,
    StopRequested,
)
from launcher.runs.files import read_lines, read_object
from launcher.runs.lock import is_alive, read_supervisor
from launcher.runs.records import PROGRAM, attempts, newest_attempt, phase_of, read_plan, read_ranks
from launcher.specs import Node, Plan, RankRecord, RankState, RunLayout


class RunState(StrEnum):
    """What a person asks first."""

    QUEUED = "queued"
    """A batch job that will work on it waits; only the batch system knows that."""
    STAGING = "staging"
    """The folder is there, no attempt has started."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    SAVED = "saved"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"
    """It has not ended, but its supervisor is gone: `resume` goes on."""


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """One line of `status`."""

    node_rank: int
    node: str
    ranks: int
    """How many ranks it has by the plan."""
    reporting: int
    """How many of them wrote a record."""
    state: str
    """State of its worst rank: `failed`, `starting`, `running`, `saved`, `done`; or `silent`."""
    phase: str
    step: int
    """Step of its slowest rank."""
    heartbeat_at: float | None
    """Last sign of the rank that has been silent longest; None without any."""
    heartbeat_age_s: float | None


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Everything that `status` shows; times are seconds, rates per second over all ranks."""

    run_id: str
    state: RunState
    attempt: int
    """0 before the first attempt."""
    recipe: str
    step: int
    total_steps: int
    """0 when unknown."""
    loss: float | None
    samples_per_s: float | None
    eta_s: float | None
    started_at: float | None
    """Start of the newest attempt."""
    updated_at: float | None
    """Newest sign of life."""
    committed_step: int | None
    supervisor_alive: bool
    supervisor: str
    """`pid 123 on host`, empty if there never was one."""
    nodes: tuple[NodeStatus, ...]
    restarted: str
    """How often it was, since somebody started it, and on what it goes on; empty if never."""
    result: dict[str, object]
    """What the program reported at its end."""


def read_status(layout: RunLayout, *, now: float | None = None) -> RunStatus:
    """Return how the run stands now.

    Raises:
        UnknownNameError: there is no such run.
    """
    if not layout.path.is_dir():
        runs = [path.name for path in layout.path.parent.glob("*") if path.is_dir()]
        raise UnknownNameError(
            "run", layout.run_id, runs, context=f"looked in {layout.path.parent}"
        )
    now = time.time() if now is None else now
    attempt = newest_attempt(layout)
    records = read_ranks(layout, attempt) if attempt else []
    plan = read_plan(layout, attempt) if attempt else read_plan(layout)
    found = read_supervisor(layout)
    alive = is_alive(found, now=now)
    told = events.read(layout.attempt(attempt).events) if attempt else []
    leader = records[0] if records else None
    step, total = _steps(records)
    recipe = plan.recipe if plan else ""
    rate = leader.samples_per_s if leader else None
    return RunStatus(
        run_id=layout.run_id,
        state=_state(told, records, alive=alive, attempt=attempt, recipe=recipe),
        attempt=attempt,
        recipe=recipe,
        step=step,
        total_steps=total,
        loss=leader.loss if leader else None,
        samples_per_s=rate,
        eta_s=_eta(layout, attempt, step, total),
        started_at=next((each.at for each in told if isinstance(each, AttemptStarted)), None),
        updated_at=max((record.heartbeat_at for record in records), default=None),
        committed_step=committed_step(layout),
        supervisor_alive=alive,
        supervisor=found.name if found else "",
        nodes=node_statuses(plan, records, now=now),
        restarted=_restarted(layout),
        result=_result(layout),
    )


def node_statuses(
    plan: Plan | None, records: Sequence[RankRecord], *, now: float
) -> tuple[NodeStatus, ...]:
    """Return one line per node of the plan, made of the records of its ranks."""
    if plan is None:
        return ()
    return tuple(
        _node(
            node,
            [record for record in records if record.node_rank == node.node_rank],
            recipe=plan.recipe,
            now=now,
        )
        for node in plan.cluster.nodes
    )


def committed_step(layout: RunLayout) -> int | None:
    """Return the newest step that any rank of any attempt knows to be durable."""
    steps = [
        record.committed_step
        for number in attempts(layout)
        for record in read_ranks(layout, number)
        if record.committed_step is not None
    ]
    return max(steps, default=None)


def remaining_s(lines: Sequence[dict[str, Any]], step: int, total: int) -> float | None:
    """Return the seconds that the steps to come will take, by the last ones; None if unknown."""
    recent = [line for line in lines if "eval" not in line][-_RECENT_STEPS:]
    times = [line["step_time_s"] for line in recent if isinstance(line.get("step_time_s"), float)]
    if not times or not total:
        return None
    return statistics.fmean(times) * max(0, total - step)


_RECENT_STEPS = 50
_WORST_FIRST = (
    RankState.FAILED,
    RankState.STARTING,
    RankState.RUNNING,
    RankState.SAVED,
    RankState.DONE,
)


def _state(
    told: Sequence[Event],
    records: Sequence[RankRecord],
    *,
    alive: bool,
    attempt: int,
    recipe: str,
) -> RunState:
    ended = next((event for event in reversed(told) if isinstance(event, RunEnded)), None)
    if ended is not None:
        return RunState(ended.state)
    if not alive:
        return RunState.LOST if attempt else RunState.STAGING
    if any(isinstance(event, StopRequested) for event in told):
        return RunState.STOPPING
    runs = any(record.step or phase_of(record, recipe) == PROGRAM for record in records)
    return RunState.RUNNING if runs else RunState.STARTING


def _node(node: Node, records: Sequence[RankRecord], *, recipe: str, now: float) -> NodeStatus:
    slowest = min(records, key=lambda record: record.step, default=None)
    worst = min((record.state for record in records), key=_WORST_FIRST.index, default=None)
    beat = min((record.heartbeat_at for record in records), default=None)
    return NodeStatus(
        node_rank=node.node_rank,
        node=node.name,
        ranks=node.slots,
        reporting=len(records),
        state=str(worst) if worst else "silent",
        phase=phase_of(slowest, recipe) if slowest else "",
        step=slowest.step if slowest else 0,
        heartbeat_at=beat,
        heartbeat_age_s=None if beat is None else max(0.0, now - beat),
    )


def _steps(records: Sequence[RankRecord]) -> tuple[int, int]:
    step = min((record.step for record in records), default=0)
    return step, max((record.total_steps for record in records), default=0)


def _eta(layout: RunLayout, attempt: int, step: int, total: int) -> float | None:
    if not attempt or step >= total:
        return None
    return remaining_s(read_lines(layout.attempt(attempt).metrics), step, total)


def _restarted(layout: RunLayout) -> str:
    times, change, restarting = 0, "", False
    for event in events.history(layout):
        match event:
            case AttemptEnded():
                restarting = event.restarting
            case AttemptStarted():
                times, change = (times + 1, change) if restarting else (0, "")
                restarting = False
            case NodesChanged():
                change = f", goes on {event.change}"
    if not times:
        return ""
    return f"{'once' if times == 1 else f'{times} times'}{change}"


def _result(layout: RunLayout) -> dict[str, object]:
    result = read_object(layout.result).get("result")
    return result if isinstance(result, dict) else {}
