"""Time limits of jobs, and how long before the limit Slurm signals the launcher. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from launcher.errors import ConfigError

SHORTEST_S = 60
"""Slurm checks the time only this often, so a shorter warning may come too late."""
SAFETY = 3.0
"""A save on a busy file system may take this many times longer than before."""
LEAVE_S = 30.0
"""For everything around the save: agree on a step, end all ranks, write the report."""

_FORM = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")


def limit_s(text: str) -> int | None:
    """Return a time limit in seconds, None for no limit.

    `90` is minutes, `90:30` minutes and seconds, `1:30:00` hours, minutes and seconds. After days,
    `2-12:30` is hours and minutes.

    Raises:
        ConfigError: not a form that Slurm accepts.
    """
    if text.upper() in ("", "INFINITE", "UNLIMITED"):
        return None
    match = _FORM.fullmatch(text)
    if not match:
        raise ConfigError(
            f"`cluster.slurm.time={text}` is not a time limit",
            hint="use minutes, `90`, or `hours:minutes:seconds`, or `days-hours:minutes:seconds`",
        )
    clock = [int(part) for part in match["clock"].split(":")]
    if match["days"]:
        hours, minutes, seconds = (*clock, 0, 0)[:3]
    elif len(clock) == 3:
        hours, minutes, seconds = clock
    else:
        hours, (minutes, seconds) = 0, (*clock, 0)[:2]
    return ((int(match["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


@dataclass(frozen=True, kw_only=True)
class EarlyWarning:
    """When Slurm sends the signal, and how much of that time the ranks get."""

    signal_s: int
    """Seconds before the limit, for `--signal=B:USR1@N`. Slurm may signal up to 60 s earlier."""
    grace_s: float
    """Seconds for the ranks to save a checkpoint and exit: `supervise.grace_s` of the job."""


def size(*, save_s: float | None, grace_s: float, limit_s: int | None) -> EarlyWarning:
    """Return when to warn a job whose longest save took `save_s`, None if not known.

    Never earlier than half of the time limit, or a job would make no progress.
    """
    needed = max(grace_s, SAFETY * (save_s or 0.0))
    signal_s = max(SHORTEST_S, math.ceil(needed + LEAVE_S))
    if limit_s is not None:
        signal_s = max(1, min(signal_s, limit_s // 2))
    return EarlyWarning(signal_s=signal_s, grace_s=needed)
