"""Lines for the user on stderr: errors with context and hint, warnings, notes. No tracebacks."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Sequence

from launcher.errors import LauncherError, PreflightError
from launcher.specs.secrets import hide

_BOLD_RED, _YELLOW, _DIM, _RESET = "\033[1;31m", "\033[33m", "\033[2m", "\033[0m"


def show(error: LauncherError) -> None:
    """Print message, context and hint of an error."""
    say(f"{_mark(_BOLD_RED, 'error:')} {error.message}")
    if error.context:
        say(textwrap.indent(error.context, "  "))
    if error.hint:
        say(f"{_mark(_DIM, 'hint:')}  {error.hint}")


def of_machine(error: Exception) -> LauncherError | None:
    """Return the error to show if a disk cannot be written, None for all other exceptions."""
    from launcher.storage.disk import DiskProblemKind, classify

    if not isinstance(error, OSError):
        return None
    kind = classify(error)
    if kind not in (
        DiskProblemKind.DISK_FULL,
        DiskProblemKind.READ_ONLY,
        DiskProblemKind.PERMISSION,
    ):
        return None
    where = f"`{error.filename}`" if error.filename else "a file, or to the output of this command"
    return PreflightError(
        f"cannot write to {where}: {kind}",
        hint="free space or use another folder (`storage.root=...`), then repeat the command",
    )


def show_bug(error: Exception, argv: Sequence[str]) -> None:
    """Write the traceback of an unexpected error to a file, and print where."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="launcher-bug-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        text = f"launcher {shlex.join(argv)}\n\n{''.join(traceback.format_exception(error))}"
        file.write(hide(text, os.environ))
    say(
        f"{_mark(_BOLD_RED, 'error:')} this is a bug in the launcher: "
        f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    )
    say(f"{_mark(_DIM, 'hint:')}  please report it with the traceback in {file.name}")


def say(text: str) -> None:
    """Print a line to stderr, without secrets. A closed stderr is ignored."""
    try:
        print(hide(text, os.environ), file=sys.stderr, flush=True)
    except (BrokenPipeError, ValueError):
        return


def log_warnings() -> None:
    """Print the warnings of all rooms as lines on stderr."""
    root = logging.getLogger("launcher")
    if not any(isinstance(handler, _Lines) for handler in root.handlers):
        root.addHandler(_Lines(level=logging.WARNING))
    root.propagate = False


class _Lines(logging.Handler):
    """Uses the current `sys.stderr` for each line, because a live display replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{_mark(_YELLOW, record.levelname.lower() + ':')} {record.getMessage()}")


def _mark(style: str, text: str) -> str:
    colored = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return f"{style}{text}{_RESET}" if colored else text
