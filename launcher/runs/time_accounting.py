"""How the time of a run was spent, from what its attempts wrote."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.runs import events
from launcher.runs.metrics import step_times, steps
from launcher.runs.records import PROGRAM, attempts, phase_of, read_lines, read_plan, read_ranks
from launcher.specs import RankRecord, RunLayout

FIRST = ("preflight", "stage", "start", "load", "restore", "train", PROGRAM, "eval", "save")
LAST = ("other", "end", "lost")
"""The phases that have a meaning of their own, in the order to show. Phases that only the program
knows are shown between `FIRST` and `LAST`."""
_ATTEMPTS = 5
"""Only so many of the newest attempts say how long a save takes: nodes and storage change."""


def seconds_by_phase(layout: RunLayout) -> dict[str, float]:
    """Return the seconds per phase of rank 0 over all attempts, in the order to show.

    `start` begins when the supervisor starts the attempt. `end` lasts from the last report of the
    ranks to the end of the last process. `lost` is training that a later attempt repeated.
    """
    total: dict[str, float] = {}
    for number in attempts(layout):
        for phase, seconds in _attempt(layout, number).items():
            total[phase] = total.get(phase, 0.0) + seconds
    training = "train" if "train" in total else PROGRAM
    lost = min(lost_seconds(layout), total.get(training, 0.0))
    if lost:
        total[training] -= lost
        total["lost"] = lost
    own = sorted(set(total) - {*FIRST, *LAST})
    return {phase: total[phase] for phase in (*FIRST, *own, *LAST) if total.get(phase)}


def lost_seconds(layout: RunLayout) -> float:
    """Return how long the steps took that a later attempt did again."""
    newest: dict[int, int] = {}
    times: dict[tuple[int, int], float] = {}
    for number in attempts(layout):
        for line in steps(read_lines(layout.attempt(number).metrics)):
            step, seconds = line.get("step"), line.get("step_time_s")
            if isinstance(step, int) and isinstance(seconds, int | float):
                newest[step] = number
                times[number, step] = float(seconds)
    return sum(seconds for (number, step), seconds in times.items() if number < newest[step])


def longest_save_s(layout: RunLayout) -> float | None:
    """Return the seconds of the longest save, None if the newest attempts saved nothing.

    A save lasts from the end of its step, by the clock of rank 0, to its commit. A save before a
    preemption lasts from the stop request to the end of the last process.
    """
    numbers = attempts(layout)[-_ATTEMPTS:]
    return max((seconds for number in numbers for seconds in _saves(layout, number)), default=None)


def _attempt(layout: RunLayout, number: int) -> dict[str, float]:
    history = events.read(layout.attempt(number).events)
    started = next((each for each in history if isinstance(each, events.AttemptStarted)), None)
    if started is None:
        return {}
    spent = dict(started.spent)
    ended = next((each for each in history if isinstance(each, events.AttemptEnded)), None)
    leader = next((each for each in read_ranks(layout, number) if each.rank == 0), None)
    last_at = leader.heartbeat_at if leader else history[-1].at
    whole = ended.seconds if ended else max(0.0, last_at - started.at)
    plan = read_plan(layout, number)
    phases = _phases(leader, plan.recipe if plan else "") if leader else {}
    if leader:
        before = max(0.0, leader.started_at - started.at)
        phases["start"] = phases.get("start", 0.0) + before
    rest = whole - sum(phases.values())
    if rest > 0:
        phases["end" if leader else "start"] = rest
    for phase, seconds in phases.items():
        spent[phase] = spent.get(phase, 0.0) + seconds
    return spent


def _phases(leader: RankRecord, recipe: str) -> dict[str, float]:
    phases: Mapping[str, float] = leader.phase_seconds
    if phase_of(leader, recipe) == PROGRAM:
        return {PROGRAM: sum(phases.values())}
    return dict(phases)


def _saves(layout: RunLayout, number: int) -> list[float]:
    history = events.read(layout.attempt(number).events)
    done_at = {step: at for at, step in step_times(layout, number)}
    saves = [
        each.at - done_at[each.step]
        for each in history
        if isinstance(each, events.Committed) and each.step in done_at
    ]
    preempted = next(
        (each for each in history if isinstance(each, events.StopRequested) and each.preempted),
        None,
    )
    ended = next((each for each in history if isinstance(each, events.AttemptEnded)), None)
    killed = any(isinstance(each, events.Killed) for each in history)
    if preempted is not None and ended is not None and not killed:
        saves.append(ended.at - preempted.at)
    return [seconds for seconds in saves if seconds > 0]
