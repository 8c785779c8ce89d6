"""The request to save and leave: SIGTERM and SIGUSR1."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

__all__ = ["STOP_SIGNALS", "StopFlag", "protect_children"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopFlag:
    """Set by a signal, read by the program once per step.

    A program that never asks could not react to a flag: until `watch` is called, a stop signal
    raises `SystemExit(128 + signal)` in the main thread, so that `finally` blocks and exit
    handlers of a plain script still run.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first stop signal that arrived."""
        self._watched = False
        self._owner = os.getpid()

    @property
    def requested(self) -> bool:
        return self.signal is not None

    def watch(self) -> None:
        """From now on the program asks by itself; stop signals only set the flag."""
        self._watched = True

    def install(self) -> None:
        """Take over the stop signals. Only the main thread may call this.

        A signal that came while the agent started this process was held back until now.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, self._receive)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return
        first = self.signal is None
        if first:
            self.signal = number
        if first and not self._watched:
            raise SystemExit(128 + number)


def protect_children() -> None:
    """Keep stop signals that were meant for the rank from ending the processes it forks.

    Batch systems signal every process of a step. A data-loader worker that dies of it breaks the
    rank just while it saves. Workers of `multiprocessing` therefore obey SIGTERM from their parent
    only: `Pool.terminate` and `Process.terminate` depend on that one. Other forks get SIGTERM's
    default back and ignore SIGUSR1.
    """
    from multiprocessing import util  # noqa: PLC0415 - needs a rank, not every import of ours

    os.register_at_fork(after_in_child=_forget_handlers)
    util.register_after_fork(_GUARD, lambda _: _obey_parent_only())


class _Guard:
    """Something that `register_after_fork` can hold a weak reference to."""


_GUARD = _Guard()


def _forget_handlers() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _obey_parent_only() -> None:
    # The sender is known only to sigwaitinfo. Blocked here, the signals wait for the thread below,
    # whatever handlers a worker installs for itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(
        target=_wait_for_parent, args=(os.getppid(),), name="launcher-stop", daemon=True
    ).start()


def _wait_for_parent(parent: int) -> None:
    while True:
        received = signal.sigwaitinfo(STOP_SIGNALS)
        if received.si_signo == signal.SIGTERM and received.si_pid == parent:
            # Sent again, to the only thread that does not block it: the worker's own handler, or
            # the default that ends it, then acts as if nobody had stood in between.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
            os.kill(os.getpid(), signal.SIGTERM)
            return
