"""What the agent adds to the record of a rank that has ended."""

from __future__ import annotations

import dataclasses

import pytest

from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.exit_records import final
from launcher.runtime.process import first_record
from launcher.specs import RankException, RankRecord, RankState


def record(state: RankState, exception: RankException | None = None) -> RankRecord:
    start = first_record(RankEnviron.from_environ({}), LaunchEnviron.from_environ({}), 1)
    return dataclasses.replace(start, state=state, exception=exception)


KILLED = -9


@pytest.mark.parametrize("state", [RankState.STARTING, RankState.RUNNING, RankState.DONE])
def test_a_killed_rank_failed_by_that_signal(state: RankState) -> None:
    result = final(record(state), KILLED, at=5.0)
    assert (result.state, result.signal, result.heartbeat_at) == (RankState.FAILED, 9, 5.0)


def test_a_rank_that_called_os_exit_is_recorded_with_its_code() -> None:
    result = final(record(RankState.RUNNING), 3, at=5.0)
    assert (result.state, result.exit_code) == (RankState.FAILED, 3)


def test_a_rank_that_called_os_exit_0_is_done() -> None:
    assert final(record(RankState.RUNNING), 0, at=5.0).state is RankState.DONE


def test_what_a_failed_rank_wrote_itself_is_kept() -> None:
    exception = RankException(at=1.0, kind="ValueError", message="m", traceback="t")
    result = record(RankState.FAILED, exception)
    assert final(result, 1, at=5.0) == result
    assert final(result, KILLED, at=5.0).exception == exception


def test_a_saved_rank_stays_saved_however_it_went() -> None:
    assert final(record(RankState.SAVED), KILLED, at=5.0).state is RankState.SAVED
