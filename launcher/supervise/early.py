"""Signals that ask to leave before there is a rank to save anything."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from launcher.errors import Interrupted, SavedForRequeue

_PREEMPTIONS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def preemptible() -> Iterator[None]:
    """Turn a preemption inside this context into `SavedForRequeue`: there is nothing to lose yet.

    It leaves on the way of Ctrl-C, which all that runs so early knows how to survive already.
    Outside the main thread, where Python allows no signal handler, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, leave) for number in _PREEMPTIONS}
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        if not came:
            raise
        raise SavedForRequeue(
            f"asked to leave by {signal.Signals(came[0]).name} before training started",
            hint="start the same command again: what was staged so far is kept",
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
