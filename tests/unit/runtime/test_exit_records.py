"""What the agent adds to the record of a rank that has ended."""

from __future__ import annotations

import dataclasses

import pytest

from launcher.runtime.children import End
from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.exit_records import final
from launcher.runtime.process import first_record
from launcher.specs import RankException, RankRecord, RankState


def record(state: RankState, exception: RankException | None = None) -> RankRecord:
    start = first_record(RankEnviron.from_environ({}), LaunchEnviron.from_environ({}), 1)
    return dataclasses.replace(start, state=state, exception=exception)


def killed() -> End:
    return End(exit_code=None, signal=9, at=5.0)


def left(code: int) -> End:
    return End(exit_code=code, signal=None, at=5.0)


@pytest.mark.parametrize("state", [RankState.STARTING, RankState.RUNNING, RankState.DONE])
def test_a_killed_rank_failed_by_that_signal(state: RankState) -> None:
    told = final(record(state), killed())
    assert (told.state, told.signal, told.heartbeat_at) == (RankState.FAILED, 9, 5.0)


def test_a_rank_that_left_by_os_exit_is_told_with_its_code() -> None:
    told = final(record(RankState.RUNNING), left(3))
    assert (told.state, told.exit_code) == (RankState.FAILED, 3)


def test_a_rank_that_left_by_os_exit_0_is_done() -> None:
    assert final(record(RankState.RUNNING), left(0)).state is RankState.DONE


def test_what_a_failed_rank_told_itself_is_kept() -> None:
    exception = RankException(at=1.0, kind="ValueError", message="m", traceback="t")
    told = record(RankState.FAILED, exception)
    assert final(told, left(1)) == told
    assert final(told, killed()).exception == exception


def test_a_saved_rank_stays_saved_however_it_went() -> None:
    assert final(record(RankState.SAVED), killed()).state is RankState.SAVED
