"""How a run stands.

One function, `run_status`, answers this. A live display calls it with what it remembers, `status`
and the report with what the run folder contains.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from launcher.errors import UnknownNameError
from launcher.runs import events
from launcher.runs.events import (
    AttemptEnded,
    AttemptStarted,
    Committed,
    Event,
    NodesChanged,
    RunEnded,
    StopRequested,
)
from launcher.runs.lock import is_alive, read_supervisor
from launcher.runs.metrics import Pace, step_times
from launcher.runs.records import (
    PROGRAM,
    attempts,
    newest_attempt,
    phase_of,
    read_object,
    read_plan,
    read_ranks,
)
from launcher.specs import Node, Plan, RankRecord, RankState, RunLayout


class RunState(StrEnum):
    """The first thing that a user wants to know."""

    QUEUED = "queued"
    """A batch job for this run waits; only the batch system knows this."""
    STAGING = "staging"
    """It is checked and staged: its next attempt has not started."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    SAVED = "saved"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"
    """It has not ended, but its supervisor is gone. `resume` continues it."""


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """One node of the newest attempt."""

    node_rank: int
    node: str
    role: str
    ranks: int
    """How many ranks the plan gives it."""
    reporting: int
    """How many of them wrote a record."""
    state: str
    """State of its worst rank: `failed`, `starting`, `running`, `saved`, `done`; or `silent`."""
    phase: str
    step: int
    """Step of its slowest rank."""
    loss: float | None
    samples_per_s: float | None
    """Its share of the rate of the run."""
    heartbeat_at: float | None
    """Last heartbeat of the rank that has been silent longest; None if no rank reported."""
    heartbeat_age_s: float | None


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Everything that a display shows of a run; times are seconds, rates are over all ranks."""

    run_id: str
    state: RunState
    attempt: int
    """0 before the first attempt."""
    recipe: str
    step: int
    """Step of the slowest rank: all ranks have done this one."""
    total_steps: int
    """0 if unknown."""
    loss: float | None
    samples_per_s: float | None
    eta_s: float | None
    """Time left; None if the run is not training, or if it is unknown."""
    started_at: float | None
    """Start of the newest attempt."""
    updated_at: float | None
    """Newest heartbeat."""
    committed_step: int | None
    supervisor_alive: bool
    supervisor: str
    """`process 123 on host`, empty if there never was one."""
    nodes: tuple[NodeStatus, ...]
    restarted: str
    """How often the launcher restarted it since the user started it, and what changed."""
    result: Mapping[str, object]
    """What the program reported when it finished."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a status is computed from."""

    run_id: str
    attempt: int
    """The newest attempt; 0 if there was none yet."""
    plan: Plan | None
    records: Sequence[RankRecord]
    """What the ranks of the newest attempt wrote, in rank order."""
    history: Mapping[int, Sequence[Event]]
    """The events of each attempt."""
    pace: Pace
    supervisor: str = ""
    supervisor_alive: bool = True
    preparing: bool = False
    """Its supervisor lives, and has started no attempt yet."""
    result: Mapping[str, object] = field(default_factory=dict)


def run_status(facts: RunFacts, *, now: float) -> RunStatus:
    """Return how a run stands at `now`, in seconds since the epoch. Pure."""
    records, plan = facts.records, facts.plan
    newest = facts.history.get(facts.attempt, ())
    leader = records[0] if records else None
    step = min((record.step for record in records), default=0)
    total = max((record.total_steps for record in records), default=0)
    state = _state(facts, newest)
    return RunStatus(
        run_id=facts.run_id,
        state=state,
        attempt=facts.attempt,
        recipe=plan.recipe if plan else "",
        step=step,
        total_steps=total,
        loss=leader.loss if leader else None,
        samples_per_s=leader.samples_per_s if leader else None,
        eta_s=facts.pace.left_s(step, total) if state is RunState.RUNNING else None,
        started_at=next((each.at for each in newest if isinstance(each, AttemptStarted)), None),
        updated_at=max((record.heartbeat_at for record in records), default=None),
        committed_step=_committed_step(facts.history, records),
        supervisor_alive=facts.supervisor_alive,
        supervisor=facts.supervisor,
        nodes=_nodes(plan, records, now=now) if plan else (),
        restarted=_restarted(facts.history),
        result=facts.result,
    )


def read_status(layout: RunLayout, *, now: float | None = None) -> RunStatus:
    """Return how the run in `layout` stands now.

    Raises:
        UnknownNameError: the run does not exist.
    """
    if not layout.path.is_dir():
        names = [path.name for path in layout.path.parent.glob("*") if path.is_dir()]
        raise UnknownNameError(
            "run", layout.run_id, names, context=f"looked in {layout.path.parent}"
        )
    now = time.time() if now is None else now
    attempt = newest_attempt(layout)
    supervisor = read_supervisor(layout)
    alive = is_alive(supervisor, now=now)
    result = read_object(layout.result).get("result")
    facts = RunFacts(
        run_id=layout.run_id,
        attempt=attempt,
        plan=read_plan(layout, attempt),
        records=read_ranks(layout, attempt) if attempt else (),
        history=_history(layout),
        pace=Pace(points=step_times(layout, attempt), now=now),
        supervisor=supervisor.name if supervisor else "",
        supervisor_alive=alive,
        preparing=alive and supervisor is not None and not supervisor.attempt,
        result=result if isinstance(result, dict) else {},
    )
    return run_status(facts, now=now)


def committed_step(layout: RunLayout) -> int | None:
    """Return the newest step of which the run folder says that a checkpoint was committed."""
    records = [record for number in attempts(layout) for record in read_ranks(layout, number)]
    return _committed_step(_history(layout), records)


_WORST_FIRST = (
    RankState.FAILED,
    RankState.STARTING,
    RankState.RUNNING,
    RankState.SAVED,
    RankState.DONE,
)


def _history(layout: RunLayout) -> dict[int, list[Event]]:
    return {number: events.read(layout.attempt(number).events) for number in attempts(layout)}


def _state(facts: RunFacts, newest: Sequence[Event]) -> RunState:
    if facts.preparing:
        return RunState.STAGING
    ended = next((event for event in reversed(newest) if isinstance(event, RunEnded)), None)
    if ended is not None:
        return RunState(ended.state)
    if not facts.supervisor_alive:
        # A supervisor that leaves deletes its record.
        return RunState.LOST if facts.attempt or facts.supervisor else RunState.STAGING
    if any(isinstance(event, StopRequested) for event in newest):
        return RunState.STOPPING
    recipe = facts.plan.recipe if facts.plan else ""
    runs = any(each.step or phase_of(each, recipe) == PROGRAM for each in facts.records)
    return RunState.RUNNING if runs else RunState.STARTING


def _committed_step(
    history: Mapping[int, Sequence[Event]], records: Sequence[RankRecord]
) -> int | None:
    """Return the newest step that the supervisor or a rank knows to be saved."""
    steps = [record.committed_step for record in records]
    for event in (event for newest in history.values() for event in newest):
        match event:
            case AttemptStarted(resumes_step=step) | Committed(step=step):
                steps.append(step)
    return max((step for step in steps if step is not None), default=None)


def _nodes(plan: Plan, records: Sequence[RankRecord], *, now: float) -> tuple[NodeStatus, ...]:
    rate = records[0].samples_per_s if records else None
    per_rank = None if rate is None else rate / max(1, plan.cluster.world_size)
    return tuple(
        _node(
            node,
            [record for record in records if record.node_rank == node.node_rank],
            recipe=plan.recipe,
            samples_per_s=None if per_rank is None else per_rank * node.slots,
            now=now,
        )
        for node in plan.cluster.nodes
    )


def _node(
    node: Node,
    records: Sequence[RankRecord],
    *,
    recipe: str,
    samples_per_s: float | None,
    now: float,
) -> NodeStatus:
    slowest = min(records, key=lambda record: record.step, default=None)
    worst = min((record.state for record in records), key=_WORST_FIRST.index, default=None)
    beat = min((record.heartbeat_at for record in records), default=None)
    return NodeStatus(
        node_rank=node.node_rank,
        node=node.name,
        role=node.role,
        ranks=node.slots,
        reporting=len(records),
        state=str(worst) if worst else "silent",
        phase=phase_of(slowest, recipe) if slowest else "",
        step=slowest.step if slowest else 0,
        loss=next((record.loss for record in records if record.loss is not None), None),
        samples_per_s=samples_per_s,
        heartbeat_at=beat,
        heartbeat_age_s=None if beat is None else max(0.0, now - beat),
    )


def _restarted(history: Mapping[int, Sequence[Event]]) -> str:
    times, change, restarting = 0, "", False
    for event in (event for number in sorted(history) for event in history[number]):
        match event:
            case AttemptEnded():
                restarting = event.restarting
            case AttemptStarted():
                times, change = (times + 1, change) if restarting else (0, "")
                restarting = False
            case NodesChanged():
                change = f", continues {event.change}"
    if not times:
        return ""
    return f"{'once' if times == 1 else f'{times} times'}{change}"
