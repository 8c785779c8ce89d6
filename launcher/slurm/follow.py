"""Looking at a job until it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from launcher.errors import PreflightError
from launcher.slurm.control import JobInfo, look

EVERY_S = 2.0
"""Between two looks; every one is work for the controller of the whole cluster."""
_SILENT_S = 600.0
"""A controller that is being restarted does not answer for a while, and the job goes on."""


def follow(
    job_id: str,
    *,
    ask: Callable[[str], tuple[JobInfo, ...]] = look,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[JobInfo]:
    """Yield how the job is, again and again, until it is over; the last value is its end.

    Ends without a last value when Slurm has forgotten the job.

    Raises:
        PreflightError: Slurm has not answered for ten minutes.
    """
    silent = 0.0
    while True:
        try:
            found = ask(job_id)
        except PreflightError:
            silent += EVERY_S
            if silent > _SILENT_S:
                raise
            sleep(EVERY_S)
            continue
        silent = 0.0
        if not found:
            return
        yield found[0]
        if found[0].over:
            return
        sleep(EVERY_S)
