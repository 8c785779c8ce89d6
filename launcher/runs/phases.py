"""What a rank is doing, also where its program never says."""

from __future__ import annotations

from launcher.specs import RankRecord, RankState

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
