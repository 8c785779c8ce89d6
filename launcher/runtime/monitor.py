"""What an agent does while its ranks run: forward stop requests, wait, end ranks."""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from launcher.runtime.children import Child

__all__ = ["AgentSignals", "RankMonitor", "Timeouts", "log_to_stderr"]

logger = logging.getLogger(__name__)

_STOP_REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def log_to_stderr() -> logging.Handler:
    """Write what the agent logs to stderr, which is the node's log; return the handler."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s agent: %(message)s"))
    package = logging.getLogger("launcher")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    return handler


class AgentSignals:
    """Collects the stop requests that an agent receives, and wakes it up for them.

    It also wakes up when a child ends. No signal is lost between two calls of `wait`.
    """

    def __init__(self) -> None:
        self._pending: list[signal.Signals] = []
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> None:
        """Install the signal handlers of an agent. Only the main thread may call this."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in _STOP_REQUESTS:
            signal.signal(number, self._note)
        # Until a rank registers its own: a request for stack dumps must not end a process.
        faulthandler.register(signal.SIGUSR2, all_threads=True, chain=False)
        # The wake-up is written only for signals that have a handler.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def uninstall(self) -> None:
        """Restore the default handlers, for a forked rank."""
        signal.set_wakeup_fd(-1)
        for number in (*_STOP_REQUESTS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._read)
        os.close(self._write)

    def wait(self, timeout_s: float) -> None:
        """Sleep until a signal arrives, but at most `timeout_s`."""
        ready, _, _ = select.select([self._read], [], [], timeout_s)
        if ready:
            os.read(self._read, 4096)

    def take(self) -> list[signal.Signals]:
        """Return the stop requests since the last call."""
        taken, self._pending = self._pending, []
        return taken

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pending.append(signal.Signals(number))


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long an agent waits for its ranks, in seconds."""

    grace_s: float
    """Between a stop request and SIGKILL: the time a rank has to save."""
    peers_s: float = 5.0
    """From the first failure to SIGTERM: the time the other ranks have to report their errors."""
    kill_s: float = 2.0
    """Between that SIGTERM and SIGKILL."""
    duplicate_s: float = 1.0
    """Signals within this time of the first are the same request: batch systems signal every
    process, and the supervisor forwards its own to us."""


class RankMonitor:
    """Waits for the ranks of one node; ends them if asked to, or if one of them fails."""

    def __init__(
        self,
        children: Sequence[Child],
        signals: AgentSignals,
        timeouts: Timeouts,
        *,
        on_end: Callable[[Child], None],
        parent_is_gone: Callable[[], bool],
    ) -> None:
        self._children = children
        self._signals = signals
        self._timeouts = timeouts
        self._on_end = on_end
        self._parent_is_gone = parent_is_gone
        self._stop_at: float | None = None
        """When the first stop request came (monotonic)."""
        self._failed_at: float | None = None
        self._terminated = False
        self.first_failure: Child | None = None

    @property
    def stopping(self) -> bool:
        return self._stop_at is not None

    def wait(self) -> None:
        """Return when every rank has ended."""
        while True:
            self._reap()
            if not self._running():
                return
            self._act(time.monotonic())
            self._signals.wait(self._next_deadline(time.monotonic()))

    def _running(self) -> list[Child]:
        return [child for child in self._children if child.running]

    def _reap(self) -> None:
        for child in self._running():
            if not child.reap():
                continue
            logger.info("%s", child)
            self._on_end(child)
            if child.returncode != 0 and self.first_failure is None:
                self.first_failure = child
                self._failed_at = time.monotonic()

    def _act(self, now: float) -> None:
        for number in self._signals.take():
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
            logger.info("received %s: stopping the ranks", number.name)
            self._forward_stop(now)
        elif now - self._stop_at >= self._timeouts.duplicate_s:
            logger.warning("received %s again: killing the ranks", number.name)
            self._kill()

    def _forward_stop(self, now: float) -> None:
        self._stop_at = now
        self._send(signal.SIGTERM)

    def _enforce_grace(self, now: float, since: float) -> None:
        if now - since >= self._timeouts.grace_s:
            logger.warning(
                "ranks still run after the grace period of %g s: killing them",
                self._timeouts.grace_s,
            )
            self._kill()

    def _end_peers(self, now: float, since: float) -> None:
        late = now - since - self._timeouts.peers_s
        if late >= self._timeouts.kill_s:
            self._kill()
        elif late >= 0 and not self._terminated:
            self._terminated = True
            ranks = ", ".join(str(child.place.rank) for child in self._running())
            logger.warning("ending ranks that still run after the failure: %s", ranks)
            # Their logs then show where they waited, which often explains the failure.
            self._send(signal.SIGUSR2)
            self._send(signal.SIGTERM)

    def _next_deadline(self, now: float) -> float:
        """Return for how many seconds there is nothing to do unless a signal arrives."""
        timeouts = self._timeouts
        moments = [now + 0.5]  # no signal reports that the parent is gone
        if self._stop_at is not None:
            moments.append(self._stop_at + timeouts.grace_s)
        elif self._failed_at is not None:
            moments.append(self._failed_at + timeouts.peers_s)
            moments.append(self._failed_at + timeouts.peers_s + timeouts.kill_s)
        return max(0.01, min(moment for moment in moments if moment > now) - now)

    def _send(self, number: signal.Signals) -> None:
        for child in self._running():
            child.send(number)

    def _kill(self) -> None:
        for child in self._running():
            child.kill()
