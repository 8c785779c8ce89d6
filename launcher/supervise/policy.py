"""When a failed attempt is started again. Pure: a function of what the attempts so far did."""

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
        FailureKind.CONNECTION,
        FailureKind.HANG,
        FailureKind.AGENT_LOST,
        FailureKind.NODE_LOST,
    }
)
"""What happens to a program rather than in it: trying again has a fair chance."""

NEVER_AGAIN = frozenset(
    {
        FailureKind.DISK_FULL,
        FailureKind.CUDA_UNAVAILABLE,
        FailureKind.CONFIG,
        FailureKind.MODULE_MISSING,
    }
)
"""What somebody has to mend first, however far the attempt came."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """How one attempt of this supervisor failed."""

    kind: FailureKind
    new_commit: bool
    """Whether it committed a checkpoint of its own before."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to start again, and the sentence that says why."""

    restart: bool
    why: str
    exit_code: int = TrainingError.exit_code
    """What the command ends with if it is not started again."""


def decide(failed: Sequence[Failed], *, max_restarts: int) -> Decision:
    """Decide after the last of `failed`, all attempts of this supervisor in order.

    The budget counts progress, not attempts: a run that commits between two failures may fail any
    number of times; one that gets nowhere is not tried for ever.
    """
    last = failed[-1]
    if max_restarts == 0:
        return Decision(restart=False, why="restarts are switched off (supervise.max_restarts=0)")
    if last.kind in NEVER_AGAIN:
        return Decision(restart=False, why="it would fail the same way again until it is mended")
    if last.kind not in FROM_OUTSIDE and not last.new_commit:
        return Decision(
            restart=False,
            why="the program failed by itself before it committed anything new: "
            "it would fail at the same place again",
        )
    used = _restarts_without_commit(failed)
    if used >= max_restarts:
        return Decision(
            restart=False,
            why=f"{used} restarts brought no new commit (supervise.max_restarts={max_restarts})",
            exit_code=NotRequeueable.exit_code,
        )
    if last.new_commit:
        return Decision(restart=True, why="it committed since its last start, so it may go on")
    return Decision(restart=True, why=f"restart {used + 1} of {max_restarts} without a new commit")


def _restarts_without_commit(failed: Sequence[Failed]) -> int:
    attempts = 0
    for each in reversed(failed):
        if each.new_commit:
            break
        attempts += 1
    return min(attempts, len(failed) - 1)  # the very first start is no restart
