"""Requests to stop: signals to this process, and `stop.json` in the run folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, MappingProxyType, TracebackType
from typing import Any, Self

from launcher.errors import Interrupted, SavedForRequeue
from launcher.runs import StopRequest, read_stop
from launcher.specs import RunLayout

SIGNALS: Mapping[int, tuple[str, str, bool]] = MappingProxyType(
    {
        signal.SIGINT: ("the terminal", "Ctrl-C", False),
        signal.SIGHUP: ("the terminal", "the terminal was closed (SIGHUP)", False),
        signal.SIGTERM: ("the system", "SIGTERM: the system takes the nodes back", True),
        signal.SIGUSR1: ("the system", "SIGUSR1: the time limit is near", True),
    }
)
"""Signal -> who sends it, what it means, whether it is a preemption."""


class StopRequests:
    """Collects requests while the supervisor runs; for the main thread only.

    The first request asks for a checkpoint. A second one can force an immediate end: Ctrl-C after
    any request, or SIGTERM after SIGTERM. SIGTERM after SIGUSR1 is how Slurm announces the time
    limit, and forces nothing.
    """

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._received: list[tuple[int, float]] = []
        self._before: dict[int, Any] = {}
        self._in_folder: StopRequest | None = None

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started under nohup: the run must outlive the terminal
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def first(self) -> StopRequest | None:
        """The first request, by signal or in the run folder."""
        if self._in_folder is not None or not self._received:
            return self._in_folder
        number, at = self._received[0]
        by, reason, preempted = SIGNALS[number]
        return StopRequest(at=at, by=by, reason=reason, preempted=preempted)

    @property
    def forced(self) -> bool:
        """Whether a later request asks to end without waiting for the checkpoint."""
        numbers = [number for number, _ in self._received]
        again = numbers if self._in_folder is not None else numbers[1:]
        return signal.SIGINT in again or numbers.count(signal.SIGTERM) > 1

    def check_folder(self) -> None:
        """Look for a request in the run folder; costs a file read."""
        if self.first is None:
            self._in_folder = read_stop(self._layout)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received.append((number, time.time()))


@contextmanager
def preemptible() -> Iterator[None]:
    """Turn a preemption before training, when there is nothing to save, into `SavedForRequeue`.

    It raises `KeyboardInterrupt` inside the context, which staging and the checks already handle.
    Outside the main thread, where Python allows no signal handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    preemptions = (number for number, (_, _, preempted) in SIGNALS.items() if preempted)
    before = {number: signal.signal(number, interrupt) for number in preemptions}
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        if not received:
            raise
        raise SavedForRequeue(
            f"received {signal.Signals(received[0]).name} before training started",
            hint="start the same command again: what is already staged is kept",
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
