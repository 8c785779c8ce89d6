"""Stopping an attempt in two stages: ask all ranks to save and exit, then kill what is left."""

from __future__ import annotations

import signal
import time
from enum import Enum

from launcher.runs import StopRequest, events
from launcher.supervise.commands import Commands
from launcher.supervise.event_log import EventLog
from launcher.supervise.stop_requests import StopRequests

SETTLE_S = 2.0
"""After a first failure, the other ranks get this long to write their own errors, and a save in
progress may become durable."""
AFTER_FAILURE_S = 5.0
"""Then they are asked to exit and get this long: without the failed rank they rarely can save."""
AFTER_LOSS_S = 2.0
"""The same when a node is lost: it took time to notice, and no rank can save."""
OVERTIME_S = 5.0
"""An agent kills its ranks itself when their grace period is over; this much later we kill both."""


class Stage(Enum):
    """How far stopping has come."""

    RUNNING = 0
    ASKED = 1
    KILLED = 2


class Stopping:
    """Stops the commands of one attempt. Each stage happens at most once; no method waits."""

    def __init__(self, *, grace_s: float, event_log: EventLog, commands: Commands) -> None:
        self._grace_s = grace_s
        self._event_log = event_log
        self._commands = commands
        self._deadline = float("inf")
        self._reason_to_kill = ""
        self._failed_at = float("inf")
        self._after_failure_s = AFTER_FAILURE_S
        self.stage = Stage.RUNNING
        self.request: StopRequest | None = None
        """The request that was carried out."""

    def note_failure(self) -> None:
        """Stop the rest soon: something failed."""
        self._failed_at = min(self._failed_at, time.monotonic())

    def note_loss(self) -> None:
        """Stop the rest soon: a node is lost. The ranks get less time than after a failure."""
        self.note_failure()
        self._after_failure_s = AFTER_LOSS_S

    def step(self, stop_requests: StopRequests) -> None:
        """Do what is due now."""
        if stop_requests.first is not None and self.request is None:
            self._carry_out(stop_requests.first)
        now = time.monotonic()
        if self.stage is Stage.RUNNING and now > self._failed_at + SETTLE_S:
            within_s = min(self._grace_s, self._after_failure_s)
            reason = "the first failure ends the attempt"
            self._report(by="the supervisor", reason=reason, within_s=within_s)
            self._ask(within_s, "did not exit after the first failure")
        if stop_requests.forced:
            self.kill("a second stop request ends the run immediately")
        elif now > self._deadline:
            self.kill(self._reason_to_kill)

    def kill(self, reason: str) -> None:
        """Kill everything that is left, now."""
        if self.stage is Stage.KILLED:
            return
        self.stage = Stage.KILLED
        self._event_log.add(events.Killed(at=time.time(), reason=reason))
        self._commands.kill()

    def _carry_out(self, request: StopRequest) -> None:
        self.request = request
        self._report(
            by=request.by,
            reason=request.reason,
            preempted=request.preempted,
            within_s=self._grace_s,
        )
        if self.stage is Stage.RUNNING:
            self._ask(
                self._grace_s + min(OVERTIME_S, 1.0 + self._grace_s),
                f"no checkpoint within {self._grace_s:g} s (supervise.grace_s)",
            )

    def _report(self, *, by: str, reason: str, within_s: float, preempted: bool = False) -> None:
        self._event_log.add(
            events.StopRequested(
                at=time.time(), by=by, reason=reason, preempted=preempted, grace_s=within_s
            )
        )

    def _ask(self, within_s: float, reason_to_kill: str) -> None:
        self.stage = Stage.ASKED
        self._deadline = time.monotonic() + within_s
        self._reason_to_kill = reason_to_kill
        self._commands.signal(signal.SIGTERM)
