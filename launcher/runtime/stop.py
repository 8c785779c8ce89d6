"""Stop requests to a rank: SIGTERM and SIGUSR1 mean "save a checkpoint and exit"."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

__all__ = ["STOP_SIGNALS", "StopFlag", "protect_children"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopFlag:
    """Set by a stop signal, read by the program once per step.

    Until `watch` is called, the program does not read the flag. A stop signal then raises
    `SystemExit(128 + signal)` in the main thread, so that the `finally` blocks and exit handlers of
    a plain script run.
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
        """From now on stop signals only set the flag."""
        self._watched = True

    def install(self) -> None:
        """Install the signal handlers. Only the main thread may call this.

        A signal that arrived while the agent started this process is delivered now.
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
    """Keep stop signals from ending the processes that the rank forks.

    Batch systems signal every process of a step, and a data-loader worker that dies breaks the rank
    while it saves. So workers of `multiprocessing` obey SIGTERM only from their parent, which
    `Pool.terminate` and `Process.terminate` need. Other forks get the default for SIGTERM back and
    ignore SIGUSR1.
    """
    from multiprocessing import util  # noqa: PLC0415 - only ranks need it

    os.register_at_fork(after_in_child=_forget_handlers)
    util.register_after_fork(_GUARD, lambda _: _obey_parent_only())


class _Guard:
    """An object that `register_after_fork` can hold a weak reference to."""


_GUARD = _Guard()


def _forget_handlers() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _obey_parent_only() -> None:
    # Only sigwaitinfo reports the sender. Blocked in this thread, the signals go to the one below,
    # whatever handlers the worker installs.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(
        target=_wait_for_parent, args=(os.getppid(),), name="launcher-stop", daemon=True
    ).start()


def _wait_for_parent(parent: int) -> None:
    while True:
        received = signal.sigwaitinfo(STOP_SIGNALS)
        if received.si_signo == signal.SIGTERM and received.si_pid == parent:
            # Sent again, now unblocked, it reaches the handler of the worker, or the default.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
            os.kill(os.getpid(), signal.SIGTERM)
            return
