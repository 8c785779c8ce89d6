"""What an agent does while its ranks run: forward, wait, end. Decides from what it is told."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launcher.runtime.children import Child
from launcher.runtime.wake import Wake

__all__ = ["Patience", "Watch"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long an agent waits for what."""

    grace_s: float
    """Between a request to stop and SIGKILL: the time a rank has to save."""
    peers_s: float = 5.0
    """What the other ranks get after the first failure, so that their own errors are told too."""
    last_words_s: float = 2.0
    """Between SIGTERM and SIGKILL for ranks that still run after that."""
    echo_s: float = 1.0
    """Signals this close to the first are the same request: batch systems signal every process,
    and the supervisor forwards its own to us."""


class Watch:
    """Waits for the ranks of one node and ends them when asked, or when one of them failed."""

    def __init__(
        self,
        children: Sequence[Child],
        wake: Wake,
        patience: Patience,
        *,
        on_end: Callable[[Child], None],
        parent_is_gone: Callable[[], bool],
    ) -> None:
        self._children = children
        self._wake = wake
        self._patience = patience
        self._on_end = on_end
        self._parent_is_gone = parent_is_gone
        self._stop_at: float | None = None
        """When the first request to stop came (monotonic)."""
        self._failed_at: float | None = None
        self._terminated = False
        self.first_failure: Child | None = None

    @property
    def stopping(self) -> bool:
        return self._stop_at is not None

    def until_all_ended(self) -> None:
        """Return once every rank has ended."""
        while True:
            self._reap()
            if not self._alive():
                return
            self._obey(time.monotonic())
            self._wake.wait(self._next_deadline(time.monotonic()))

    def _alive(self) -> list[Child]:
        return [child for child in self._children if child.end is None]

    def _reap(self) -> None:
        for child in self._alive():
            end = child.reap()
            if end is None:
                continue
            logger.info("rank %d (process %d) %s", child.place.rank, child.pid, end)
            self._on_end(child)
            if not end.ok and self.first_failure is None:
                self.first_failure = child
                self._failed_at = time.monotonic()

    def _obey(self, now: float) -> None:
        for number in self._wake.take_signals():
            self._request(number, now)
        if self._stop_at is None and self._parent_is_gone():
            logger.warning("the process that started this agent is gone: stopping the ranks")
            self._forward_stop(now)
        if self._stop_at is not None:
            self._enforce_grace(now, self._stop_at)
        elif self._failed_at is not None:
            self._end_peers(now, self._failed_at)

    def _request(self, number: signal.Signals, now: float) -> None:
        if self._stop_at is None:
            logger.info("%s: asking the ranks to save and leave", number.name)
            self._forward_stop(now)
        elif now - self._stop_at >= self._patience.echo_s:
            logger.warning("%s again: killing the ranks", number.name)
            self._kill()

    def _forward_stop(self, now: float) -> None:
        self._stop_at = now
        self._send(signal.SIGTERM)

    def _enforce_grace(self, now: float, since: float) -> None:
        if now - since >= self._patience.grace_s:
            logger.warning("the ranks did not leave in %g s: killing", self._patience.grace_s)
            self._kill()

    def _end_peers(self, now: float, since: float) -> None:
        late = now - since - self._patience.peers_s
        if late >= self._patience.last_words_s:
            self._kill()
        elif late >= 0 and not self._terminated:
            self._terminated = True
            ranks = ", ".join(str(child.place.rank) for child in self._alive())
            logger.warning("ending the ranks that did not notice the failure: %s", ranks)
            # Where they wait goes to their logs: often the other half of the story.
            self._send(signal.SIGUSR2)
            self._send(signal.SIGTERM)

    def _next_deadline(self, now: float) -> float:
        """Return how long nothing can happen that no signal tells, in seconds."""
        patience = self._patience
        moments = [now + 0.5]  # whether the parent is gone is only found by looking
        if self._stop_at is not None:
            moments.append(self._stop_at + patience.grace_s)
        elif self._failed_at is not None:
            moments.append(self._failed_at + patience.peers_s)
            moments.append(self._failed_at + patience.peers_s + patience.last_words_s)
        return max(0.01, min(moment for moment in moments if moment > now) - now)

    def _send(self, number: signal.Signals) -> None:
        for child in self._alive():
            child.send(number)

    def _kill(self) -> None:
        for child in self._alive():
            child.kill()
