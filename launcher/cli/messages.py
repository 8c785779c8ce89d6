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
from pathlib import Path

from launcher.cli import printing
from launcher.disk import DiskProblem, DiskProblemKind
from launcher.errors import LauncherError, PreflightError
from launcher.specs.secrets import hide

_BOLD_RED, _YELLOW, _DIM, _RESET = "\033[1;31m", "\033[33m", "\033[2m", "\033[0m"


def show(error: LauncherError) -> None:
    """Print message, context and hint of an error."""
    say(error.message, mark=("error: ", _BOLD_RED))
    if error.context:
        say(textwrap.indent(error.context, "  "))
    if error.hint:
        say(error.hint, mark=("hint:  ", _DIM))


def of_machine(error: BaseException) -> LauncherError | None:
    """Return the error to show for a file that cannot be used, None for all other exceptions."""
    if not isinstance(error, OSError):
        return None
    named = isinstance(error.filename, str | bytes) and error.filename
    problem = DiskProblem.of(error, Path(os.fsdecode(named or "")))
    if not named:
        if problem.kind in (DiskProblemKind.OTHER, DiskProblemKind.NOT_FOUND):
            return None
        what = f"cannot write to a file, or to the output of this command: {problem.reason}"
        return PreflightError(what, hint=f"{problem.hint}, then repeat the command")
    if problem.kind is DiskProblemKind.NOT_FOUND and not problem.path.is_absolute():
        return None  # a program that is not installed
    return PreflightError(problem.message, hint=f"{problem.hint}, then repeat the command")


def show_bug(error: BaseException, argv: Sequence[str]) -> None:
    """Write the traceback of an unexpected error to a file, and print where."""
    with tempfile.NamedTemporaryFile(
        "w",
        prefix="launcher-bug-",
        suffix=".txt",
        delete=False,
        encoding="utf-8",
        errors="backslashreplace",
    ) as file:
        text = f"launcher {shlex.join(argv)}\n\n{''.join(traceback.format_exception(error))}"
        file.write(hide(text, os.environ))
    first = str(error).splitlines()[0] if str(error) else "no message"
    say(
        f"this is a bug in the launcher: {type(error).__name__}: {first}",
        mark=("error: ", _BOLD_RED),
    )
    say(f"please report it with the traceback in {file.name}", mark=("hint:  ", _DIM))


def say(text: str, *, mark: tuple[str, str] = ("", "")) -> None:
    """Print a line to stderr, without secrets, after a mark: its text and its color.

    A closed stderr is ignored.
    """
    text = printing.printable(hide(text, os.environ))
    try:
        printing.raw(f"{_colored(*mark)}{text}", flush=True, to=sys.stderr)
    except (OSError, ValueError):
        printing.discard(sys.stderr)


def log_warnings() -> None:
    """Print the warnings of all rooms as lines on stderr."""
    root = logging.getLogger("launcher")
    if not any(isinstance(handler, _Lines) for handler in root.handlers):
        root.addHandler(_Lines(level=logging.WARNING))
    root.propagate = False


class _Lines(logging.Handler):
    """Uses the current `sys.stderr` for each line, because a live display replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), mark=(f"{record.levelname.lower()}: ", _YELLOW))


def _colored(text: str, color: str) -> str:
    colored = bool(text) and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return f"{color}{text}{_RESET}" if colored else text
