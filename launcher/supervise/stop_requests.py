"""Who wants the run to stop: signals to this process, and `stop.json` in the run folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, MappingProxyType, TracebackType
from typing import Any, Self

from launcher.errors import Interrupted, SavedForRequeue
from launcher.runs import read_stop
from launcher.specs import RunLayout


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Somebody wants the run to save and leave."""

    at: float
    by: str
    reason: str
    preempted: bool
    """True when the machine wants its nodes back, so that the run should be started again."""


SIGNALS: Mapping[int, tuple[str, str, bool]] = MappingProxyType(
    {
        signal.SIGINT: ("the person at the terminal", "Ctrl-C", False),
        signal.SIGHUP: ("the terminal", "the terminal was closed (SIGHUP)", False),
        signal.SIGTERM: ("the system", "SIGTERM: the nodes are wanted back", True),
        signal.SIGUSR1: ("the system", "SIGUSR1: the time is nearly over", True),
    }
)
"""Signal -> who sends it, what it means, whether it is a preemption."""


class Wishes:
    """Collects wishes while it is entered; only for the main thread.

    The first wish asks for a save. Insisting asks for an end at once: Ctrl-C after any wish, or
    SIGTERM after SIGTERM. SIGTERM after SIGUSR1 is how Slurm counts down, and insists on nothing.
    """

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._received: list[tuple[int, float]] = []
        self._before: dict[int, Any] = {}
        self._in_folder: Wish | None = None

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started under nohup: it is meant to outlive the terminal
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
    def first(self) -> Wish | None:
        """The first wish, by whichever way it came."""
        if self._in_folder is not None or not self._received:
            return self._in_folder
        number, at = self._received[0]
        by, reason, preempted = SIGNALS[number]
        return Wish(at=at, by=by, reason=reason, preempted=preempted)

    @property
    def insists(self) -> bool:
        """Whether somebody has asked again, so that waiting for a save is no longer wanted."""
        numbers = [number for number, _ in self._received]
        again = numbers if self._in_folder is not None else numbers[1:]
        return signal.SIGINT in again or numbers.count(signal.SIGTERM) > 1

    def look(self) -> None:
        """Look for a request in the run folder; costs a file read."""
        if self.first is None and (request := read_stop(self._layout)) is not None:
            self._in_folder = Wish(
                at=request.at, by=request.by, reason=request.reason or "stop", preempted=False
            )

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received.append((number, time.time()))


# Signals that ask to leave before there is a rank to save anything.
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
