"""Finding the root cause among everything that failed in an attempt.

Time alone does not decide: a killed rank writes nothing, and the connection errors of its peers are
written before its agent notices. So causes come before consequences, and time decides between
equals.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.failures.causes import FailureKind, FirstFailure
from launcher.failures.evidence import Evidence, Weight, collect
from launcher.failures.excerpts import ranges
from launcher.runs import events
from launcher.runs.lock import is_alive, read_supervisor
from launcher.runs.records import newest_attempt
from launcher.specs import RunLayout
from launcher.specs.secrets import hide_in

_LATE = frozenset({FailureKind.TERMINATED, FailureKind.CONNECTION})
"""How ranks end after their launcher has ended, whatever time the clock of their node shows."""


def first_failure(layout: RunLayout, attempt: int = 0) -> FirstFailure | None:
    """Return the root cause of a failure of `attempt` (0: the newest), None without a failure."""
    number = attempt or newest_attempt(layout)
    if not number:
        return None
    evidence = _weigh(collect(layout, number))
    causes = [each for each in evidence if each.weight is not Weight.STOPPED]
    if not causes:
        return None
    first = min(causes, key=_order)
    failure = FirstFailure(
        kind=first.cause.kind,
        at=first.at,
        attempt=number,
        rank=first.rank,
        node_rank=first.node_rank,
        node=first.node,
        sentence=_sentence(first),
        next_step=first.cause.next_step,
        detail=first.detail,
        others=tuple(_group(first, [each for each in evidence if each is not first])),
    )
    return hide_in(failure, os.environ)  # it quotes what the program printed


@dataclass(frozen=True, kw_only=True)
class LostLauncher:
    """A launcher that ended without writing how."""

    at: float
    """Its last sign of life."""
    name: str
    """`process 123 on host`; empty if a later supervisor has replaced its record."""

    def explains(self, failure: FirstFailure) -> bool:
        """Return whether the failure is a consequence, and did not happen before."""
        return failure.kind in _LATE or failure.at > self.at


def lost_launcher(layout: RunLayout, number: int) -> LostLauncher | None:
    """Return how the launcher of an attempt was lost, None if it was not."""
    history = events.read(layout.attempt(number).events)
    ends = (events.AttemptEnded, events.RunEnded)
    if not history or any(isinstance(event, ends) for event in history):
        return None
    record = read_supervisor(layout) if number == newest_attempt(layout) else None
    if record is None:
        return LostLauncher(at=history[-1].at, name="")
    return None if is_alive(record) else LostLauncher(at=record.heartbeat_at, name=record.name)


def _weigh(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Let SIGTERM count only if it came before all else: agents send it to the other ranks."""
    first = min((each.at for each in evidence if each.weight is not Weight.STOPPED), default=0.0)
    return [
        each
        if each.weight is not Weight.FROM_OUTSIDE or each.at <= first
        else dataclasses.replace(each, weight=Weight.STOPPED)
        for each in evidence
    ]


def _order(evidence: Evidence) -> tuple[int, float, int]:
    return evidence.weight, evidence.at, -1 if evidence.rank is None else evidence.rank


def _sentence(evidence: Evidence) -> str:
    place = f"node {evidence.node_rank}" if evidence.rank is None else f"rank {evidence.rank}"
    quote = f": {evidence.quote}" if evidence.quote else ""
    return f"{place} ({evidence.node}) {evidence.cause.sentence}{quote}"


def _group(first: Evidence, others: Sequence[Evidence]) -> list[str]:
    groups: dict[str, list[Evidence]] = {}
    for each in others:
        if each.rank is None and each.weight is Weight.STOPPED:
            continue  # an agent that ended because it was asked to
        groups.setdefault(_without_numbers(each.text), []).append(each)
    return [_group_line(first, group) for group in groups.values()]


def _group_line(first: Evidence, group: Sequence[Evidence]) -> str:
    ranks = [each.rank for each in group if each.rank is not None]
    if ranks:
        count = f"{len(ranks)} other{'s' if len(ranks) > 1 else ''} (rank {ranges(ranks)})"
    else:
        count = f"node {ranges(each.node_rank for each in group)}"
    text = group[0].text if len(group[0].text) <= 70 else group[0].text[:67] + "..."
    if _without_numbers(group[0].text) == _without_numbers(first.text):
        return f"{count}: the same"
    if group[0].weight is Weight.CAUSE:
        return f"{count}: {text}"
    return f"{count}: {text} - a consequence"


def _without_numbers(text: str) -> str:
    """Return a text that is equal for ranks that report the same with other addresses and ids."""
    return re.sub(r"0x[0-9a-f]+|\d+", "#", text)
