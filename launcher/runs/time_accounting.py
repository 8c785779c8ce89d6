"""Where the time went: every second of every attempt in one bucket."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.runs import events
from launcher.runs.files import read_lines
from launcher.runs.logs import lost_seconds
from launcher.runs.records import PROGRAM, attempts, phase_of, read_plan, read_ranks
from launcher.specs import RankRecord, RunLayout

FIRST = ("preflight", "stage", "start", "load", "restore", "train", PROGRAM, "eval", "save")
LAST = ("other", "end", "lost")
"""Buckets that have a meaning of their own, as they are shown. What else a program names stands
between both: it happened before the ranks left."""


def ledger(layout: RunLayout) -> dict[str, float]:
    """Return seconds per bucket over all attempts, by rank 0's account, in the order to show.

    `start` counts from the supervisor's word to the first phase, `end` from the last rank's word
    to the last process, `lost` is training that a later attempt had to do again.
    """
    total: dict[str, float] = {}
    for number in attempts(layout):
        for name, seconds in _attempt(layout, number).items():
            total[name] = total.get(name, 0.0) + seconds
    lost = min(lost_seconds(layout), total.get("train", total.get(PROGRAM, 0.0)))
    if lost:
        bucket = "train" if "train" in total else PROGRAM
        total[bucket] -= lost
        total["lost"] = lost
    own = sorted(set(total) - {*FIRST, *LAST})
    return {name: total[name] for name in (*FIRST, *own, *LAST) if total.get(name)}


def _attempt(layout: RunLayout, number: int) -> dict[str, float]:
    told = events.read(layout.attempt(number).events)
    started = next((each for each in told if isinstance(each, events.AttemptStarted)), None)
    if started is None:
        return {}
    spent = dict(started.spent)
    ended = next((each for each in told if isinstance(each, events.AttemptEnded)), None)
    leader = next((each for each in read_ranks(layout, number) if each.rank == 0), None)
    last_word = leader.heartbeat_at if leader else told[-1].at
    whole = ended.seconds if ended else max(0.0, last_word - started.at)
    plan = read_plan(layout, number)
    phases = _phases(leader, plan.recipe if plan else "") if leader else {}
    if leader:
        before = max(0.0, leader.started_at - started.at)
        phases["start"] = phases.get("start", 0.0) + before
    rest = whole - sum(phases.values())
    if rest > 0:
        phases["end" if leader else "start"] = rest
    for name, seconds in phases.items():
        spent[name] = spent.get(name, 0.0) + seconds
    return spent


def _phases(leader: RankRecord, recipe: str) -> dict[str, float]:
    phases: Mapping[str, float] = leader.phase_seconds
    if phase_of(leader, recipe) == PROGRAM:
        return {PROGRAM: sum(phases.values())}
    return dict(phases)


# How long saves of a run took, read back from its folder.
_ATTEMPTS = 5
"""So many of the newest attempts count: nodes, storage and world size change."""


def longest_save_s(layout: RunLayout) -> float | None:
    """Return the seconds that the longest save took, None when no attempt tells.

    A save counts from the end of its step to its commit, by the clock of the head; one that was
    asked for counts from the request to the end of the last process.
    """
    numbers = attempts(layout)[-_ATTEMPTS:]
    found = [seconds for number in numbers for seconds in _saves(layout, number)]
    return max(found, default=None)


def _saves(layout: RunLayout, number: int) -> list[float]:
    told = events.read(layout.attempt(number).events)
    done_at = _steps(layout, number)
    saves = [
        each.at - done_at[each.step]
        for each in told
        if isinstance(each, events.Committed) and each.step in done_at
    ]
    asked = next(
        (each for each in told if isinstance(each, events.StopRequested) and each.preempted), None
    )
    killed = any(isinstance(each, events.Killed) for each in told)
    ended = next((each for each in told if isinstance(each, events.AttemptEnded)), None)
    if asked is not None and ended is not None and not killed:
        saves.append(ended.at - asked.at)
    return [seconds for seconds in saves if seconds > 0]


def _steps(layout: RunLayout, number: int) -> dict[int, float]:
    """When each step was done, by the records of rank 0."""
    return {
        line["step"]: line["at"]
        for line in read_lines(layout.attempt(number).metrics)
        if "eval" not in line
        and isinstance(line.get("step"), int)
        and isinstance(line.get("at"), float)
    }
