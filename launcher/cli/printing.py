"""The only place that prints, so that no text can control the terminal.

Messages and tables contain text of users, hosts and programs. `printable` makes its escape codes
visible. Only the output of the user's own program reaches the terminal as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from launcher import units


def printable(text: str) -> str:
    r"""Return `text` with its control characters as `\x1b`."""
    lines = text.replace("\r\n", "\n")
    return units.CONTROLS.sub(lambda control: repr(control.group())[1:-1], lines)


def out(text: str = "", *, flush: bool = False) -> None:
    """Print text to stdout."""
    raw(printable(text), flush=flush)


def discard(stream: TextIO) -> None:
    """Let a stream drop everything because its reader is gone: a closed pipe or terminal."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Let what is shown inside the context be lost if stdout cannot be written.

    A run must not end because its terminal was closed, or because its log is on a full disk.
    """
    try:
        yield
    except OSError:
        discard(sys.stdout)


def raw(text: str, *, flush: bool = False, to: TextIO | None = None) -> None:
    """Print text as it is: the output of a user's program, JSON, or our own colors.

    Raises:
        BrokenPipeError: nothing reads it any more, also if a terminal was closed.
    """
    try:
        print(text, file=to or sys.stdout, flush=flush)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise BrokenPipeError(errno.EPIPE, "the terminal was closed") from error
