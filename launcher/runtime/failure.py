"""From a live exception to what the status file tells about it."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from types import TracebackType

from launcher.specs import RankException

__all__ = ["clean", "describe", "exit_code_of"]

_OWN_FOLDER = str(Path(__file__).parent)

_MESSAGE_LIMIT = 4_000
_TRACEBACK_LIMIT = 40_000


def clean(trace: TracebackType | None) -> TracebackType | None:
    """Drop the frames above the program's first one: they are ours and tell the user nothing."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        trace = trace.tb_next
    return trace


def describe(error: BaseException) -> RankException:
    """Return `error` as the status file tells it; never raises, whatever `error` does."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    lines = traceback.format_exception(kind, error, clean(error.__traceback__))
    return RankException(
        at=time.time(),
        kind=name,
        message=_writable(_text(error))[:_MESSAGE_LIMIT],
        traceback=_writable("".join(lines))[-_TRACEBACK_LIMIT:],
    )


def exit_code_of(error: SystemExit) -> int:
    """Return the exit code that the interpreter makes of a `SystemExit`."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    return 1


def _writable(text: str) -> str:
    """Escape what no file or terminal takes: names of files that are no UTF-8 come as such."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"<unprintable {type(error).__name__}>"
