"""Runs short commands of this machine (ip, mount, ssh-keygen), and waits for their effects."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DONE_WITHIN_S = 60
_LOOK_EVERY_S = 0.05


class LabError(Exception):
    """The lab itself failed."""


def command(*argv: str | os.PathLike[str], check: bool = True) -> str:
    """Run `argv` to its end and return what it printed."""
    done = subprocess.run(
        argv,
        env={**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_DONE_WITHIN_S,
        check=False,
        start_new_session=True,  # Ctrl-C must not end `ip` in the middle of a clean-up
    )
    if check and done.returncode != 0:
        words = " ".join(map(str, argv))
        raise LabError(f"`{words}` ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_until(what: str, is_so: Callable[[], bool], timeout_s: float) -> None:
    """Poll until `is_so`; `what` completes the sentence "waited for ..."."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(_LOOK_EVERY_S)
