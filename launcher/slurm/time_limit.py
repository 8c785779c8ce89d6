"""Time limits as sbatch takes them. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from launcher.errors import ConfigError

_FORM = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")


def limit_s(text: str) -> int | None:
    """Return a time limit in seconds, None when there is none.

    `90` are minutes, `90:30` minutes and seconds, `1:30:00` hours; behind days, `2-12:30` are hours
    and minutes.

    Raises:
        ConfigError: Slurm knows no such form.
    """
    if text.upper() in ("", "INFINITE", "UNLIMITED"):
        return None
    match = _FORM.fullmatch(text)
    if not match:
        raise ConfigError(
            f"`cluster.slurm.time={text}` is no time limit of Slurm's",
            hint="give minutes, `90`, or `hours:minutes:seconds`, or `days-hours:minutes:seconds`",
        )
    clock = [int(part) for part in match["clock"].split(":")]
    if match["days"]:
        hours, minutes, seconds = (*clock, 0, 0)[:3]
    elif len(clock) == 3:
        hours, minutes, seconds = clock
    else:
        hours, (minutes, seconds) = 0, (*clock, 0)[:2]
    return ((int(match["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


# How long before the end of its time a job is warned, from how long its saves took. Pure.
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
