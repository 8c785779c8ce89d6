"""Time limits as sbatch takes them. Pure."""

from __future__ import annotations

import re

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
