"""Whether to restart after a failed attempt. Pure: it depends only on the attempts so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.errors import NotRequeueable, TrainingError
from launcher.failures.causes import FailureKind

FROM_OUTSIDE = frozenset(
    {
        FailureKind.OUT_OF_MEMORY,
        FailureKind.SHARED_MEMORY,
        FailureKind.SEGFAULT,
        FailureKind.TERMINATED,
        FailureKind.SIGNALLED,
        FailureKind.CUDA_ERROR,
        FailureKind.PORT_IN_USE,
        FailureKind.RENDEZVOUS,
        FailureKind.UNTRUSTED,
        FailureKind.CONNECTION,
        FailureKind.HANG,
        FailureKind.AGENT_LOST,
        FailureKind.NODE_LOST,
    }
)
"""Failures from outside the program: a restart has a fair chance."""

NEVER_AGAIN = frozenset(
    {
        FailureKind.DISK_FULL,
        FailureKind.CUDA_UNAVAILABLE,
        FailureKind.CONFIG,
        FailureKind.MODULE_MISSING,
    }
)
"""Failures that a person must fix first, however far the attempt came."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """How one attempt of this supervisor failed."""

    kind: FailureKind
    new_commit: bool
    """Whether it committed a checkpoint before it failed."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to restart, and why, in one sentence."""

    restart: bool
    why: str
    exit_code: int = TrainingError.exit_code
    """Exit code of the command if there is no restart."""


def decide(failed: Sequence[Failed], *, max_restarts: int) -> Decision:
    """Decide after the last of `failed`, all attempts of this supervisor in order.

    The limit counts restarts without progress, not attempts: a run that commits a checkpoint
    between any two failures may fail any number of times.
    """
    last = failed[-1]
    if max_restarts == 0:
        return Decision(restart=False, why="restarts are disabled (supervise.max_restarts=0)")
    if last.kind in NEVER_AGAIN:
        return Decision(
            restart=False, why="it would fail the same way again until its cause is fixed"
        )
    if last.kind not in FROM_OUTSIDE and not last.new_commit:
        return Decision(
            restart=False,
            why="the program itself failed before any new checkpoint: "
            "it would fail at the same place again",
        )
    used = _restarts_without_commit(failed)
    if used >= max_restarts:
        return Decision(
            restart=False,
            why=f"{used} restarts made no new checkpoint (supervise.max_restarts={max_restarts})",
            exit_code=NotRequeueable.exit_code,
        )
    if last.new_commit:
        return Decision(restart=True, why="it made a new checkpoint since its last start")
    return Decision(
        restart=True, why=f"restart {used + 1} of {max_restarts} without a new checkpoint"
    )


def _restarts_without_commit(failed: Sequence[Failed]) -> int:
    attempts = 0
    for each in reversed(failed):
        if each.new_commit:
            break
        attempts += 1
    return min(attempts, len(failed) - 1)  # the first start is not a restart
