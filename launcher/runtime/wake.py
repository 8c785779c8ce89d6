"""Sleeping until a signal arrives or time is up, without losing a signal in between."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
from collections.abc import Iterable
from types import FrameType

__all__ = ["Wake"]

_REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Wake:
    """Collects requests to stop; sleep ends at once for them and for every ended child."""

    def __init__(self) -> None:
        self._pending: list[signal.Signals] = []
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> None:
        """Take over the signals of an agent. Only the main thread may call this."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in _REQUESTS:
            signal.signal(number, self._note)
        # Until a rank registers its own: a request for stacks must not end anybody.
        faulthandler.register(signal.SIGUSR2, all_threads=True, chain=False)
        # Needs a handler, even one that does nothing, for the wake-up to be written.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def uninstall(self) -> None:
        """Give a forked rank the defaults back."""
        signal.set_wakeup_fd(-1)
        for number in (*_REQUESTS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._read)
        os.close(self._write)

    def wait(self, timeout_s: float) -> None:
        """Sleep until a signal came or `timeout_s` passed."""
        ready, _, _ = select.select([self._read], [], [], timeout_s)
        if ready:
            os.read(self._read, 4096)

    def take_signals(self) -> Iterable[signal.Signals]:
        """Return the requests since the last call."""
        taken, self._pending = self._pending, []
        return taken

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pending.append(signal.Signals(number))
