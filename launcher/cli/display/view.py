"""Records of ranks to the lines that are drawn. Pure; the clock is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from launcher.runs.records import PROGRAM, phase_of
from launcher.specs import Node, Plan, RankRecord, RankState

_WINDOW_S = 60.0
_WORST_FIRST = (
    RankState.FAILED,
    RankState.STARTING,
    RankState.RUNNING,
    RankState.SAVED,
    RankState.DONE,
)


@dataclass(frozen=True, kw_only=True)
class NodeRow:
    """One node's line."""

    name: str
    role: str
    ranks: str
    """`4`, or `3/4` while not all of them have reported."""
    state: str
    """`waiting`, `starting`, the phase its ranks are in, or how they ended."""
    step: int
    loss: float | None
    samples_per_s: float | None
    """Its share of the rate of all."""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """All that is drawn of a run at one moment."""

    run_id: str
    attempt: int
    nodes: tuple[NodeRow, ...] = ()
    step: int = 0
    total_steps: int = 0
    """0 when unknown."""
    loss: float | None = None
    samples_per_s: float | None = None
    left_s: float | None = None
    committed_step: int | None = None


@dataclass
class Pace:
    """How fast steps come, over the last minute: a mean since the start would hide a slow-down."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def left_s(self, step: int, total: int, now: float) -> float | None:
        """Return the seconds until `total`, None while nobody can know."""
        if step <= 0:
            return None  # how long it took to start says nothing about steps
        if not self._seen or step != self._seen[-1][1]:
            self._seen.append((now, step))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        if total <= 0 or last <= first or last_at <= first_at:
            return None
        per_step = (last_at - first_at) / (last - first)
        return max(0.0, (total - step) * per_step - (now - last_at))


def view(plan: Plan, records: Sequence[RankRecord], pace: Pace, now: float) -> RunView:
    """Return what to draw."""
    by_node: dict[int, list[RankRecord]] = {}
    for record in records:
        by_node.setdefault(record.node_rank, []).append(record)
    lead = records[0] if records else None
    step = max((record.step for record in records), default=0)
    total = max((record.total_steps for record in records), default=0)
    rate = lead.samples_per_s if lead else None
    commits = [record.committed_step for record in records if record.committed_step is not None]
    return RunView(
        run_id=plan.run_id,
        attempt=plan.attempt,
        nodes=tuple(
            _row(node, by_node.get(node.node_rank, []), plan, rate) for node in plan.cluster.nodes
        ),
        step=step,
        total_steps=total,
        loss=lead.loss if lead else None,
        samples_per_s=rate,
        left_s=pace.left_s(step, total, now),
        committed_step=max(commits, default=None),
    )


def _row(node: Node, records: Sequence[RankRecord], plan: Plan, rate: float | None) -> NodeRow:
    losses = [record.loss for record in records if record.loss is not None]
    reported = len(records)
    world = max(1, plan.cluster.world_size)
    return NodeRow(
        name=node.name,
        role=node.role,
        ranks=str(node.slots) if reported == node.slots else f"{reported}/{node.slots}",
        state=_state(records, plan.recipe),
        step=min((record.step for record in records), default=0),
        loss=losses[0] if losses else None,
        samples_per_s=None if rate is None else rate * node.slots / world,
    )


def _state(records: Sequence[RankRecord], recipe: str) -> str:
    for state in _WORST_FIRST:
        for record in records:
            if record.state is state:
                return _phase(record, recipe) if state is RankState.RUNNING else str(state)
    return "waiting"


def _phase(record: RankRecord, recipe: str) -> str:
    phase = phase_of(record, recipe)
    return "running" if phase == PROGRAM else phase
