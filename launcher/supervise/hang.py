"""Finding ranks that live but do nothing.

A rank's heartbeat comes from a thread, so it goes on while the program hangs; its `progress_at`
does not. How long silence may last depends on the program: its own steps say what is usual, and a
few phases are allowed much more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from launcher.specs import RankRecord, RankState

USUAL_STEPS = 20.0
"""Silence of this many usual steps is too long, where that is more than the timeout."""
WIDER = 3.0
"""Factor on the limit in the first step, which compiles, and in the phases below."""
SLOW_PHASES = frozenset({"start", "restore", "eval", "save", "compile", "stage"})
_ALIVE = (RankState.STARTING, RankState.RUNNING)
_REMEMBERED = 31


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A rank that was silent for too long."""

    record: RankRecord
    silent_s: float
    limit_s: float
    proven: bool
    """False when no rank ever reported a step or a phase: then silence says nothing."""


@dataclass
class _Pace:
    step: int
    at: float
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class HangDetector:
    """Watches the records of one attempt. Times are those of the ranks' records."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._paces: dict[int, _Pace] = {}

    def look(self, records: Sequence[RankRecord], now: float) -> Suspect | None:
        """Return the rank that has been silent longest beyond its limit, None if all is well."""
        for record in records:
            self._learn(record)
        if not self._timeout_s:
            return None
        proven = any(record.step > 0 or record.phase != "start" for record in records)
        suspects = [
            Suspect(
                record=record,
                silent_s=now - record.progress_at,
                limit_s=self.limit(record),
                proven=proven,
            )
            for record in records
            if record.state in _ALIVE and record.exception is None
        ]
        beyond = [each for each in suspects if each.silent_s > each.limit_s]
        return max(beyond, key=lambda each: each.silent_s, default=None)

    def limit(self, record: RankRecord) -> float:
        """Return the seconds of silence that this rank is allowed now."""
        pace = self._paces.get(record.rank)
        usual = median(pace.seconds) if pace and pace.seconds else 0.0
        limit = max(self._timeout_s, USUAL_STEPS * usual)
        first = pace is None or not pace.seconds
        # A script that names no phases stays in `start` while its steps are counted.
        slow = record.phase in SLOW_PHASES and not (record.phase == "start" and not first)
        return limit * WIDER if first or slow else limit

    def _learn(self, record: RankRecord) -> None:
        pace = self._paces.setdefault(record.rank, _Pace(step=record.step, at=record.progress_at))
        done = record.step - pace.step
        if done > 0:
            pace.seconds.append((record.progress_at - pace.at) / done)
            pace.step, pace.at = record.step, record.progress_at
