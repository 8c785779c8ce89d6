"""Finding what broke first, among everything that an attempt left behind.

Time alone does not tell: a rank that is killed says nothing, and its peers' connection errors are
written down before its agent notices. So causes come before consequences, and time decides among
equals.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.failures.causes import FailureKind, FirstFailure
from launcher.failures.collect import Failure, Weight, in_short, testimonies
from launcher.runs import events
from launcher.runs.lock import is_alive, read_supervisor
from launcher.runs.records import newest_attempt
from launcher.specs import RunLayout


def first_failure(layout: RunLayout, attempt: int = 0) -> FirstFailure | None:
    """Return what broke first in `attempt` (0: the newest), None if nothing did."""
    number = attempt or newest_attempt(layout)
    if not number:
        return None
    found = _weigh(testimonies(layout, number))
    culprits = [each for each in found if each.weight is not Weight.STOPPED]
    if not culprits:
        return None
    first = min(culprits, key=_order)
    return FirstFailure(
        kind=first.cause.kind,
        at=first.at,
        attempt=number,
        rank=first.rank,
        node_rank=first.node_rank,
        node=first.node,
        sentence=_sentence(first),
        next_step=first.cause.next_step,
        detail=first.detail,
        others=tuple(_fold(first, [each for each in found if each is not first])),
    )


def _weigh(found: list[Failure]) -> list[Failure]:
    """SIGTERM is a cause only if it came before everything else: agents send it to siblings."""
    first = min((each.at for each in found if each.weight is not Weight.STOPPED), default=0.0)
    return [
        each
        if each.weight is not Weight.FROM_OUTSIDE or each.at <= first
        else dataclasses.replace(each, weight=Weight.STOPPED)
        for each in found
    ]


def _order(failure: Failure) -> tuple[int, float, int]:
    return failure.weight, failure.at, -1 if failure.rank is None else failure.rank


def _sentence(failure: Failure) -> str:
    who = f"node {failure.node_rank}" if failure.rank is None else f"rank {failure.rank}"
    said = f": {failure.quote}" if failure.quote else ""
    return f"{who} ({failure.node}) {failure.cause.sentence}{said}"


def _fold(first: Failure, others: Sequence[Failure]) -> list[str]:
    groups: dict[str, list[Failure]] = {}
    for each in others:
        if each.rank is None and each.weight is Weight.STOPPED:
            continue  # an agent that was told to end, and did
        groups.setdefault(_same(each.text), []).append(each)
    return [_fold_one(first, group) for group in groups.values()]


def _fold_one(first: Failure, group: list[Failure]) -> str:
    ranks = [each.rank for each in group if each.rank is not None]
    if ranks:
        count = f"{len(ranks)} other{'s' if len(ranks) > 1 else ''} (rank {in_short(ranks)})"
    else:
        count = f"node {in_short([each.node_rank for each in group])}"
    text = group[0].text if len(group[0].text) <= 70 else group[0].text[:67] + "..."
    if _same(group[0].text) == _same(first.text):
        return f"{count}: the same"
    if group[0].weight is Weight.CAUSE:
        return f"{count}: {text}"
    return f"{count}: {text} - a consequence"


def _same(text: str) -> str:
    """Numbers, addresses and ids differ between ranks that say the same."""
    return re.sub(r"0x[0-9a-f]+|\d+", "#", text)


# Attempts whose launcher died: nobody wrote down their end, and nobody supervises them.
_FOLLOWS = frozenset({FailureKind.TERMINATED, FailureKind.CONNECTION})
"""What happens to ranks whose keepers end them, by clocks that may differ from the launcher's."""


@dataclass(frozen=True, kw_only=True)
class Abandoned:
    """The end of a launcher that could not tell of it."""

    at: float
    """Its last sign of life."""
    name: str
    """`process 123 on host`; empty when a later supervisor took its place."""

    def explains(self, failure: FirstFailure) -> bool:
        """Return whether that failure came of it, instead of being there before."""
        return failure.kind in _FOLLOWS or failure.at > self.at


def abandoned(layout: RunLayout, number: int) -> Abandoned | None:
    """Return how the launcher of attempt `number` was lost, None if it was not."""
    told = events.read(layout.attempt(number).events)
    ends = (events.AttemptEnded, events.RunEnded)
    if not told or any(isinstance(event, ends) for event in told):
        return None
    found = read_supervisor(layout) if number == newest_attempt(layout) else None
    if found is None:
        return Abandoned(at=told[-1].at, name="")
    return None if is_alive(found) else Abandoned(at=found.heartbeat_at, name=found.name)
