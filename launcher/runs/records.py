"""What the ranks of an attempt told: their status files."""

from __future__ import annotations

from launcher.specs import Plan, RankRecord, RankState, RunLayout, from_json


def attempts(layout: RunLayout) -> tuple[int, ...]:
    """Return the numbers of all attempts that have a folder, oldest first."""
    folders = [path for path in layout.attempts.glob("[0-9]*") if path.is_dir()]
    return tuple(sorted(int(path.name) for path in folders if path.name.isdecimal()))


def newest_attempt(layout: RunLayout) -> int:
    """Return the number of the newest attempt, 0 if there was none yet."""
    return max(attempts(layout), default=0)


def read_ranks(layout: RunLayout, attempt: int) -> list[RankRecord]:
    """Return the record of every rank of `attempt` that wrote a readable one, in rank order."""
    found = []
    for path in layout.attempt(attempt).ranks.glob("[0-9]*.json"):
        try:
            found.append(from_json(RankRecord, path.read_bytes()))
        except (OSError, ValueError):
            continue  # being replaced, or by another version: the next look will see it
    return sorted(found, key=lambda record: record.rank)


def read_plan(layout: RunLayout, attempt: int = 0) -> Plan | None:
    """Return the plan of `attempt`, of the newest one for 0; None if there is none to read."""
    path = layout.attempt(attempt).plan if attempt else layout.plan
    try:
        return from_json(Plan, path.read_bytes())
    except (OSError, ValueError):
        return None


# What a rank is doing, also where its program never says.
PROGRAM = "program"
"""The phase of a program that names none, from the moment that it is known to run."""


def phase_of(record: RankRecord, recipe: str) -> str:
    """Return the phase to show: a program that names none stays in `start` for ever.

    Its steps tell that it runs. A person's script may have none, and it runs from its first line.
    """
    if record.phase != "start":  # nothing comes back to it
        return record.phase
    begun = record.step > 0 or (recipe == "script" and record.state is not RankState.STARTING)
    return PROGRAM if begun else record.phase
