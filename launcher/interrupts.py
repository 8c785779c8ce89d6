"""Signals that ask a command to end, outside of training, where there is nothing to save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from launcher.errors import Interrupted, SavedForRequeue

PREEMPTIONS = (signal.SIGTERM, signal.SIGUSR1)
"""The system takes the machine back: the command should be started again."""
START_AGAIN = "repeat the command; what is already staged is kept"


def ignore_repeated() -> None:
    """Ignore all these signals: this process is about to exit, and has its exit code."""
    for number in (signal.SIGINT, signal.SIGHUP, *PREEMPTIONS):
        signal.signal(number, signal.SIG_IGN)


interrupted = threading.Event()
"""Set once a signal has asked this process to end: threads that wait for a child end it."""


class Interruption:
    """What asked this process to end. The first request counts; repeated ones are ignored.

    Otherwise they would interrupt the code that ends what was started. Only Ctrl-C always counts.
    """

    def __init__(self) -> None:
        self._received: list[int] = []
        self._reason = ""

    def request(self, reason: str) -> None:
        """Interrupt the main thread, from another one."""
        self._reason = reason
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGUSR1)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` again if the code in between has swallowed it."""
        if self._received:
            raise KeyboardInterrupt

    def error(self, before: str) -> Interrupted | SavedForRequeue | None:
        """Return what the command ends with; None for Ctrl-C and for a closed terminal."""
        if self._reason:
            return Interrupted(self._reason, hint=START_AGAIN)
        if self._received and self._received[0] in PREEMPTIONS:
            name = signal.Signals(self._received[0]).name
            return SavedForRequeue(f"received {name}{before}", hint=START_AGAIN)
        return None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        interrupted.set()
        self._received.append(number)
        if len(self._received) == 1 or number == signal.SIGINT:
            raise KeyboardInterrupt


@contextmanager
def interruptible(before: str = "") -> Iterator[Interruption]:
    """Let signals that ask this process to end raise `KeyboardInterrupt` inside the context.

    So its code can end what it started. SIGHUP then counts as Ctrl-C, unless it is ignored, as
    under nohup. SIGTERM and SIGUSR1 become `SavedForRequeue`; `before` completes its message.
    Outside the main thread, where Python allows no signal handlers, it does nothing.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    asked_by_user = (signal.SIGINT, signal.SIGHUP)
    numbers = [each for each in asked_by_user if signal.getsignal(each) is not signal.SIG_IGN]
    numbers += PREEMPTIONS
    interrupted.clear()
    handlers = {number: signal.signal(number, interruption.receive) for number in numbers}
    try:
        yield interruption
    except (KeyboardInterrupt, Interrupted):
        error = interruption.error(before)
        if error is None:
            raise
        raise error from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
