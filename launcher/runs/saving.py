"""How long saves of a run took, read back from its folder."""

from __future__ import annotations

from launcher.runs import events
from launcher.runs.files import read_lines
from launcher.runs.records import attempts
from launcher.specs import RunLayout

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
