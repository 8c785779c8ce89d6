"""The history of a run's numbers, put together from what each attempt wrote.

Lines with a `loss` are training steps, lines with an `eval` are evaluations; both have `step` and
`at`. An attempt that goes on from a checkpoint repeats the steps after it, so for each step the
line of the newest attempt counts.
"""

from __future__ import annotations

import json
from typing import Any

from launcher.runs.files import read_lines, replace
from launcher.runs.records import attempts
from launcher.specs import RunLayout


def history(layout: RunLayout) -> list[dict[str, Any]]:
    """Return all lines that count, in order of steps; each says which `attempt` it is from."""
    kept: dict[tuple[int, bool], dict[str, Any]] = {}
    for number in attempts(layout):
        for line in read_lines(layout.attempt(number).metrics):
            if isinstance(line.get("step"), int):
                kept[line["step"], "eval" in line] = {**line, "attempt": number}
    return [kept[key] for key in sorted(kept)]


def steps(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the training steps among `lines`."""
    return [line for line in lines if "eval" not in line]


def evaluations(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the evaluations among `lines`."""
    return [line for line in lines if "eval" in line]


def lost_seconds(layout: RunLayout) -> float:
    """Return how long training took that had to be done again by a later attempt."""
    newest: dict[int, int] = {}
    times: dict[tuple[int, int], float] = {}
    for number in attempts(layout):
        for line in steps(read_lines(layout.attempt(number).metrics)):
            step, seconds = line.get("step"), line.get("step_time_s")
            if isinstance(step, int) and isinstance(seconds, int | float):
                newest[step] = number
                times[number, step] = float(seconds)
    return sum(seconds for (number, step), seconds in times.items() if number < newest[step])


def merge(layout: RunLayout) -> None:
    """Write the run's `metrics.jsonl` anew from those of its attempts. Supervisor only."""
    lines = "".join(json.dumps(line) + "\n" for line in history(layout))
    replace(layout.metrics, lines)
