"""Stopping in two stages: asked to save and leave, then ended; each at most once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from enum import Enum

from launcher.runs import events
from launcher.supervise.event_log import Journal
from launcher.supervise.stop_requests import Wish, Wishes
from launcher.transports import Process

SETTLE_S = 2.0
"""After a first failure: the others then tell theirs, and a save in flight may become durable."""
AFTER_FAILURE_S = 5.0
"""Then they are asked to leave, and get this long: with a rank gone they rarely can."""
AFTER_LOSS_S = 2.0
"""They get this long when a node went away: that took time to be noticed, and nobody can save."""
OVERTIME_S = 5.0
"""An agent ends its ranks itself when their grace is over; this much later we end both."""


class Stage(Enum):
    """How far stopping has come."""

    RUNNING = 0
    ASKED = 1
    KILLED = 2


class Stopping:
    """Asks and ends the processes of one attempt. Nothing here waits."""

    def __init__(
        self,
        *,
        grace_s: float,
        journal: Journal,
        running: Callable[[], Iterable[Process]],
        reap: Callable[[], object],
    ) -> None:
        self._grace_s = grace_s
        self._journal = journal
        self._running = running
        self._reap = reap
        self._deadline = float("inf")
        self._otherwise = ""
        self._failed_at = float("inf")
        self._after_failure_s = AFTER_FAILURE_S
        self.stage = Stage.RUNNING
        self.wish: Wish | None = None
        """The wish that was acted upon."""

    def note_failure(self) -> None:
        """Something failed: the rest is given a moment, then asked to leave."""
        self._failed_at = min(self._failed_at, time.monotonic())

    def note_loss(self) -> None:
        """A node went away: like a failure, with less patience."""
        self.note_failure()
        self._after_failure_s = AFTER_LOSS_S

    def step(self, wishes: Wishes) -> None:
        """Do what is due now."""
        if wishes.first is not None and self.wish is None:
            self._grant(wishes.first)
        now = time.monotonic()
        if self.stage is Stage.RUNNING and now > self._failed_at + SETTLE_S:
            within_s = min(self._grace_s, self._after_failure_s)
            reason = "the first failure ends the attempt"
            self._tell_stop(by="the supervisor", reason=reason, within_s=within_s)
            self._ask(within_s, "not gone after the first failure")
        if wishes.insists:
            self.kill("stopped at once, as asked for")
        elif now > self._deadline:
            self.kill(self._otherwise)

    def kill(self, reason: str) -> None:
        """End everything that is left, now."""
        if self.stage is Stage.KILLED:
            return
        self.stage = Stage.KILLED
        self._journal.tell(events.Killed(at=time.time(), reason=reason))
        for process in self._running():
            process.kill()
        self._reap()

    def _grant(self, wish: Wish) -> None:
        self.wish = wish
        self._tell_stop(
            by=wish.by,
            reason=wish.reason,
            preempted=wish.preempted,
            within_s=self._grace_s,
        )
        if self.stage is Stage.RUNNING:
            self._ask(
                self._grace_s + min(OVERTIME_S, 1.0 + self._grace_s),
                f"not saved within {self._grace_s:g} s (supervise.grace_s)",
            )

    def _tell_stop(self, *, by: str, reason: str, within_s: float, preempted: bool = False) -> None:
        self._journal.tell(
            events.StopRequested(
                at=time.time(), by=by, reason=reason, preempted=preempted, grace_s=within_s
            )
        )

    def _ask(self, within_s: float, otherwise: str) -> None:
        self.stage = Stage.ASKED
        self._deadline = time.monotonic() + within_s
        self._otherwise = otherwise
        for process in self._running():
            process.signal(signal.SIGTERM)
