"""What the ranks of one attempt report, and the events that follow from it."""

from __future__ import annotations

import time

from launcher.failures.excerpts import in_one_line
from launcher.processes import signal_name
from launcher.runs import events
from launcher.runs.records import read_ranks
from launcher.specs import Plan, RankRecord, RunLayout
from launcher.supervise.event_log import EventLog
from launcher.supervise.verdict import has_failed


class Ranks:
    """The newest record of every rank."""

    def __init__(self, plan: Plan, layout: RunLayout, event_log: EventLog) -> None:
        self.records: list[RankRecord] = []
        self.failed: set[int] = set()
        """The ranks whose failure was reported as an event."""
        self._plan = plan
        self._layout = layout
        self._event_log = event_log
        self._joined = False
        self._committed: int | None = None

    def read(self, *, stopping: bool) -> bool:
        """Read all records; return whether a rank has failed that had not failed before.

        A rank without an exception that ends while we stop the attempt has not failed.
        """
        self.records = read_ranks(self._layout, self._plan.attempt)
        if not self._joined and len(self.records) == self._plan.cluster.world_size:
            self._joined = True
            self._event_log.add(events.RanksJoined(at=time.time(), ranks=len(self.records)))
        failed = [
            record
            for record in self.records
            if record.rank not in self.failed
            and has_failed(record)
            and not (stopping and record.exception is None)
        ]
        for record in failed:
            self._report_failure(record)
        self._report_commit()
        self._event_log.ranks(self.records)
        return bool(failed)

    def _report_failure(self, record: RankRecord) -> None:
        self.failed.add(record.rank)
        self._event_log.add(
            events.RankFailed(
                at=time.time(), rank=record.rank, node=record.node, what=_in_short(record)
            )
        )

    def _report_commit(self) -> None:
        steps = [record.committed_step for record in self.records if record.committed_step]
        newest = max(steps, default=None)
        if newest is not None and newest != self._committed:
            self._committed = newest
            self._event_log.add(events.Committed(at=time.time(), step=newest))


def _in_short(record: RankRecord) -> str:
    if record.exception is not None:
        return in_one_line(record.exception.kind, record.exception.message)
    if record.signal is not None:
        return f"ended by {signal_name(record.signal)}"
    return f"exit code {record.exit_code}"
