"""How long before the end of its time a job is warned, from how long its saves took. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHORTEST_S = 60
"""Slurm looks at its clock in steps of up to this length: less would be no warning at all."""
SAFETY = 3.0
"""A save on a busy file system takes this many times what it took before."""
LEAVE_S = 30.0
"""For what is around the save: agreeing on a step, ending all ranks, writing the report."""


@dataclass(frozen=True, kw_only=True)
class EarlyWarning:
    """When the signal comes, and what the ranks get of that time."""

    signal_s: int
    """Seconds before the end, for `--signal=B:USR1@N`. Slurm may send it up to 60 s earlier."""
    grace_s: float
    """Seconds that ranks get to save and leave: `supervise.grace_s` of the job."""


def size(*, save_s: float | None, grace_s: float, limit_s: int | None) -> EarlyWarning:
    """Return when to warn a job whose longest save so far took `save_s`, None when nobody knows.

    Never earlier than half of the time limit: a job that is warned as soon as it starts would get
    nowhere, however often it is started.
    """
    needed = max(grace_s, SAFETY * (save_s or 0.0))
    signal_s = max(SHORTEST_S, math.ceil(needed + LEAVE_S))
    if limit_s is not None:
        signal_s = max(1, min(signal_s, limit_s // 2))
    return EarlyWarning(signal_s=signal_s, grace_s=needed)
