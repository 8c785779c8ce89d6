"""The end of a program as the interpreter performs it: report, exit code, threads, streams.

CPython does this in C (`pythonrun.c`, `pylifecycle.c`) for its own main program only. The program
may have replaced or closed everything in `sys`, so nothing here relies on it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import TracebackType

__all__ = [
    "FLUSH_FAILED",
    "exit_code_of",
    "flush_streams",
    "report",
    "report_exit",
    "wait_for_threads",
]

FLUSH_FAILED = 120
"""Exit code of an interpreter that cannot flush stdout or stderr at the end."""
_LONG = range(-(2**63), 2**63)
_display = sys.__excepthook__


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that a program has that ends with `error`."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if not isinstance(error, SystemExit):
        return 1
    value = _value_of(error)
    if value is None:
        return 0
    if not isinstance(value, int):
        return 1
    return int(value) & 0xFF if int(value) in _LONG else 0xFF


def report(error: BaseException, trace: TracebackType | None) -> int:
    """Report an exception through `sys.excepthook`; return the exit code of the program."""
    kind = type(error)
    error = error.with_traceback(trace)
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace
    try:
        hook = sys.excepthook
    except AttributeError:
        _write("sys.excepthook is missing\n")
        hook = _display
    try:
        hook(kind, error, trace)
    except SystemExit as leaves:
        return report_exit(leaves)
    except BaseException as broken:
        _write("Error in sys.excepthook:\n")
        ours = broken.__traceback__  # the frame that called the hook
        _display(type(broken), broken.with_traceback(ours and ours.tb_next), None)
        _write("\nOriginal exception was:\n")
        _display(kind, error, trace)
    return exit_code_of(error)


def report_exit(error: SystemExit) -> int:
    """Print what was given to `sys.exit` if it is not a number; return the exit code."""
    value = _value_of(error)
    if value is not None and not isinstance(value, int):
        _write_value(value)
        _write("\n")
    return exit_code_of(error)


def wait_for_threads() -> None:
    """Wait for the program's threads that are not daemons.

    Joining them is not enough: the threads of a `ThreadPoolExecutor` end only after its exit hook,
    which runs inside.
    """
    threading._shutdown()  # type: ignore[attr-defined]


def flush_streams() -> bool:
    """Flush stdout and stderr; return False if that failed."""
    return all([_flushed("stdout"), _flushed("stderr")])


def _value_of(error: SystemExit) -> object:
    try:
        return error.code
    except Exception:  # a property of a subclass
        return error


def _write_value(value: object) -> None:
    if getattr(sys, "stderr", None) is None:
        _write(value)
        return
    with contextlib.suppress(BaseException):  # the interpreter drops it, too
        sys.stderr.write(str(value))


def _write(value: object) -> None:
    """Write to `sys.stderr`; if that fails, to the file descriptor."""
    try:
        sys.stderr.write(str(value))
    except BaseException:
        with contextlib.suppress(BaseException):  # no place is left to report it
            os.write(2, str(value).encode("utf-8", "backslashreplace"))


def _flushed(name: str) -> bool:
    stream = getattr(sys, name, None)
    if stream is None or _is_closed(stream):
        return True
    try:
        stream.flush()
    except BaseException:
        return False
    return True


def _is_closed(stream: object) -> bool:
    try:
        return bool(getattr(stream, "closed", False))
    except Exception:
        return False
