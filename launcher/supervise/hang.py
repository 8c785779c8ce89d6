"""Finding ranks that are alive but make no progress.

A thread writes a rank's heartbeat, so it continues while the program hangs; `progress_at` does not.
How long silence may last depends on the program: on how long its steps usually take, and on its
phase.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from launcher.specs import RankRecord, RankState

USUAL_STEPS = 20.0
"""Silence is too long after this many usual steps, if that is longer than the timeout."""
WIDER = 3.0
"""Factor on the limit for the first step, which compiles, and for the phases below."""
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
    """False if no rank ever reported a step or a phase: then silence proves nothing."""


@dataclass
class _Pace:
    step: int
    at: float
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class HangDetector:
    """Compares the records of one attempt. Times are those in the ranks' records."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._paces: dict[int, _Pace] = {}

    def look(self, records: Sequence[RankRecord], now: float) -> Suspect | None:
        """Return the rank that is silent longest of those beyond their limit, or None."""
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
        """Return for how many seconds this rank may be silent now."""
        pace = self._paces.get(record.rank)
        usual = median(pace.seconds) if pace and pace.seconds else 0.0
        limit = max(self._timeout_s, USUAL_STEPS * usual)
        first = pace is None or not pace.seconds
        # A script that reports no phases stays in `start` while its steps count up.
        slow = record.phase in SLOW_PHASES and not (record.phase == "start" and not first)
        return limit * WIDER if first or slow else limit

    def _learn(self, record: RankRecord) -> None:
        pace = self._paces.setdefault(record.rank, _Pace(step=record.step, at=record.progress_at))
        done = record.step - pace.step
        if done > 0:
            pace.seconds.append((record.progress_at - pace.at) / done)
            pace.step, pace.at = record.step, record.progress_at
