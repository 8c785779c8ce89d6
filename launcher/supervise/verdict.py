"""From what an attempt left behind to what it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from launcher.failures.causes import FailureKind, FirstFailure
from launcher.specs import RankRecord, RankState
from launcher.supervise.watch import AttemptEnd, has_failed


class Ending(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    SAVED = "saved"
    STOPPED = "stopped"
    """It was asked to leave and left, saved or not."""
    FAILED = "failed"


_NOT_BY_STOPPING = frozenset(
    {FailureKind.DISK_FULL, FailureKind.CHECKPOINT, FailureKind.NO_CHECKPOINT}
)
"""Failures that count also after a wish to stop: they say that saving did not work."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How an attempt ended, and in one sentence."""

    ending: Ending
    cause: str
    failure: FirstFailure | None = None


def judge(end: AttemptEnd, world_size: int, failure: FirstFailure | None) -> Verdict:
    """Decide by the ranks' records first; exit codes alone do not tell saved from done."""
    if _all_well(end, world_size):
        if any(record.state is RankState.SAVED for record in end.records):
            return Verdict(ending=Ending.SAVED, cause="saved and left")
        return Verdict(ending=Ending.DONE, cause="done")
    if end.wish is not None and not _counts(failure, end.wish.at):
        return Verdict(
            ending=Ending.STOPPED, cause=f"stopped without a new save: {end.wish.reason}"
        )
    cause = failure.sentence if failure else "it ended badly and nothing says why"
    return Verdict(ending=Ending.FAILED, cause=cause, failure=failure)


def last_step(records: tuple[RankRecord, ...]) -> int:
    """Return the step up to which all ranks came."""
    return min((record.step for record in records), default=0)


def _all_well(end: AttemptEnd, world_size: int) -> bool:
    return (
        all(code == 0 for code in end.exit_codes.values())
        and len(end.records) == world_size
        and not any(has_failed(record) for record in end.records)
    )


def _counts(failure: FirstFailure | None, wished_at: float) -> bool:
    """Whether the attempt failed by itself, although it was also asked to stop."""
    if failure is None:
        return False
    return 0 < failure.at < wished_at or failure.kind in _NOT_BY_STOPPING
