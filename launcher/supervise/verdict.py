"""What an attempt came to, judged by what it left behind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from launcher.failures.causes import FailureKind, FirstFailure
from launcher.runs import StopRequest
from launcher.specs import RankRecord, RankState


class Verdict(StrEnum):
    """The four ways in which an attempt, and a run, can end."""

    DONE = "done"
    SAVED = "saved"
    """Ended early with a new checkpoint. A run: it was preempted, and should be started again."""
    STOPPED = "stopped"
    """Ended early by request, perhaps without a new checkpoint. A run: a person stopped it."""
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class AttemptResult:
    """What an attempt left when its last process had ended."""

    records: tuple[RankRecord, ...] = ()
    exit_codes: dict[int, int]
    """Node rank -> exit code of its command."""
    stop_request: StopRequest | None = None
    """The request to stop that was carried out."""
    seconds: float

    @property
    def step(self) -> int:
        """The step that all ranks completed."""
        return min((record.step for record in self.records), default=0)


_FAILED_TO_SAVE = frozenset(
    {FailureKind.DISK_FULL, FailureKind.CHECKPOINT, FailureKind.NO_CHECKPOINT}
)
"""These failures count even after a stop request: the checkpoint was not saved."""


def judge(
    attempt: AttemptResult, world_size: int, failure: FirstFailure | None
) -> tuple[Verdict, str]:
    """Return the verdict, and the reason in one sentence.

    The ranks' records decide: exit codes alone do not distinguish saved from done.
    """
    if _all_well(attempt, world_size):
        if any(record.state is RankState.SAVED for record in attempt.records):
            return Verdict.SAVED, "checkpoint saved"
        return Verdict.DONE, "done"
    request = attempt.stop_request
    if request is not None and not _failed_despite(request, failure):
        return Verdict.STOPPED, f"stopped without a new checkpoint: {request.reason}"
    return Verdict.FAILED, failure.sentence if failure else "failed for an unknown reason"


def has_failed(record: RankRecord) -> bool:
    """Return whether the record reports a failure, even if the rank is still exiting."""
    return record.state is RankState.FAILED or record.exception is not None


def _all_well(attempt: AttemptResult, world_size: int) -> bool:
    return (
        all(code == 0 for code in attempt.exit_codes.values())
        and len(attempt.records) == world_size
        and not any(has_failed(record) for record in attempt.records)
    )


def _failed_despite(request: StopRequest, failure: FirstFailure | None) -> bool:
    """Whether the attempt failed by itself, although it was also asked to stop."""
    if failure is None:
        return False
    return 0 < failure.at < request.at or failure.kind in _FAILED_TO_SAVE
