"""Requests to stop: signals to this process, and `stop.json` in the run folder."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, MappingProxyType, TracebackType
from typing import Any, Self

from launcher.interrupts import PREEMPTIONS
from launcher.runs import StopRequest, read_stop
from launcher.specs import RunLayout

SIGNALS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        signal.SIGINT: ("the terminal", "Ctrl-C"),
        signal.SIGHUP: ("the terminal", "the terminal was closed (SIGHUP)"),
        signal.SIGTERM: ("the system", "SIGTERM: the system takes the nodes back"),
        signal.SIGUSR1: ("the system", "SIGUSR1: the time limit is near"),
    }
)
"""Signal -> who sends it, and what it means."""


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
        self._interrupting = False

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
        by, reason = SIGNALS[number]
        return StopRequest(at=at, by=by, reason=reason, preempted=number in PREEMPTIONS)

    @property
    def forced(self) -> bool:
        """Whether a later request asks to end without waiting for the checkpoint."""
        numbers = [number for number, _ in self._received]
        again = numbers if self._in_folder is not None else numbers[1:]
        return signal.SIGINT in again or numbers.count(signal.SIGTERM) > 1

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let a signal end what the context does; it is collected as always."""
        self._interrupting = True
        try:
            yield
        except KeyboardInterrupt:
            if not self._received:
                raise
        finally:
            self._interrupting = False

    def check_folder(self) -> None:
        """Look for a request in the run folder; costs a file read."""
        if self.first is None:
            self._in_folder = read_stop(self._layout)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received.append((number, time.time()))
        if self._interrupting:
            self._interrupting = False  # a second signal must not interrupt the way out
            raise KeyboardInterrupt
