from __future__ import annotations

import pytest

from launcher.failures.causes import FailureKind as Kind
from launcher.supervise.policy import (
    FROM_OUTSIDE,
    NEVER_AGAIN,
    Failed,
    decide,
)

COMMIT, NOTHING = True, False

TABLE = [
    # kinds and commits of the attempts so far, restarts allowed -> again? exit code
    ("an exception before any commit is deterministic", [(Kind.EXCEPTION, NOTHING)], 3, False, 5),
    ("an exception after a commit may be passed", [(Kind.EXCEPTION, COMMIT)], 3, True, 5),
    ("a killed rank is tried again", [(Kind.OUT_OF_MEMORY, NOTHING)], 3, True, 5),
    ("a lost agent is tried again", [(Kind.AGENT_LOST, NOTHING)], 3, True, 5),
    ("a hang is tried again", [(Kind.HANG, NOTHING)], 3, True, 5),
    ("a busy port is tried again", [(Kind.PORT_IN_USE, NOTHING)], 3, True, 5),
    ("a lost connection is tried again", [(Kind.CONNECTION, NOTHING)], 3, True, 5),
    ("a full disk is not, however far it came", [(Kind.DISK_FULL, COMMIT)], 3, False, 5),
    ("no GPU is not", [(Kind.CUDA_UNAVAILABLE, NOTHING)], 3, False, 5),
    ("bad settings are not", [(Kind.CONFIG, COMMIT)], 3, False, 5),
    ("a missing module is not", [(Kind.MODULE_MISSING, COMMIT)], 3, False, 5),
    ("an exit code without a commit is not", [(Kind.EXIT_CODE, NOTHING)], 3, False, 5),
    ("an agent that cannot start is not", [(Kind.NEVER_STARTED, NOTHING)], 3, False, 5),
    ("two fruitless restarts leave one", [(Kind.HANG, NOTHING)] * 3, 3, True, 5),
    ("three fruitless restarts are the end", [(Kind.HANG, NOTHING)] * 4, 3, False, 76),
    (
        "a commit fills the budget again",
        [(Kind.HANG, NOTHING)] * 3 + [(Kind.HANG, COMMIT)],
        3,
        True,
        5,
    ),
    (
        "after a commit three more are the end",
        [(Kind.HANG, COMMIT)] + [(Kind.HANG, NOTHING)] * 3,
        3,
        False,
        76,
    ),
    ("progress is never too much", [(Kind.AGENT_LOST, COMMIT)] * 50, 3, True, 5),
    ("no restarts allowed means none", [(Kind.HANG, COMMIT)], 0, False, 5),
    ("one restart allowed", [(Kind.HANG, NOTHING)] * 2, 1, False, 76),
]


@pytest.mark.parametrize(
    ("attempts", "allowed", "again", "code"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_restart_policy(
    attempts: list[tuple[Kind, bool]], allowed: int, again: bool, code: int
) -> None:
    failed = [Failed(kind=kind, new_commit=commit) for kind, commit in attempts]
    decision = decide(failed, max_restarts=allowed)
    assert decision.restart is again
    assert decision.exit_code == code
    assert decision.why


def test_no_kind_is_both_worth_a_try_and_hopeless() -> None:
    assert not FROM_OUTSIDE & NEVER_AGAIN
