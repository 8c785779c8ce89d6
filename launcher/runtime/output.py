"""Where a rank's output goes: its own log file, at the level of file descriptors."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

__all__ = ["redirect"]


def redirect(path: Path) -> None:
    """Send stdout and stderr of this process, and of all it starts, to the end of `path`.

    File descriptors are replaced, not Python objects, so that output of C++ libraries and of
    child processes arrives in the same file in the order in which it was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None:
            stream.flush()
        os.dup2(target, number)
        if isinstance(stream, io.TextIOWrapper):
            # Line by line, and never an error for a character the locale does not know.
            stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
    os.close(target)
