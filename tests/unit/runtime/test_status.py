"""The status file and its thread."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.process import first_record
from launcher.runtime.status import RankStatus
from launcher.specs import RankRecord, RankState, from_json


def make(path: Path | None, interval_s: float = 60.0) -> RankStatus:
    record = first_record(RankEnviron.from_environ({}), LaunchEnviron.from_environ({}), os.getpid())
    return RankStatus(record, path, interval_s=interval_s)


def read(path: Path) -> RankRecord:
    return from_json(RankRecord, path.read_bytes())


def test_a_change_of_state_is_on_disk_before_update_returns(tmp_path: Path) -> None:
    status = make(tmp_path / "0000.json")
    status.update(state=RankState.RUNNING)
    assert read(tmp_path / "0000.json").state is RankState.RUNNING


def test_the_thread_writes_counters_without_being_told(tmp_path: Path) -> None:
    status = make(tmp_path / "0000.json", interval_s=0.02)
    status.start()
    status.count_step(7)
    deadline = time.monotonic() + 5
    while read(tmp_path / "0000.json").step != 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    status.close()
    assert read(tmp_path / "0000.json").step == 7


def test_heartbeats_go_on_while_progress_stands_still(tmp_path: Path) -> None:
    status = make(tmp_path / "0000.json", interval_s=0.02)
    status.start()
    time.sleep(0.2)
    status.close()
    record = read(tmp_path / "0000.json")
    assert record.heartbeat_at > record.progress_at


def test_an_inner_phase_is_not_counted_in_the_outer_one() -> None:
    status = make(None)
    with status.phase("train"):
        time.sleep(0.05)
        with status.phase("save"):
            time.sleep(0.15)
        assert status.record.phase == "train"
    seconds = status.record.phase_seconds
    assert seconds["save"] >= 0.15
    assert 0.05 <= seconds["train"] < 0.14
    assert status.record.phase == "other"


@pytest.mark.process
def test_a_forked_child_never_writes_its_parents_file(tmp_path: Path) -> None:
    path = tmp_path / "0000.json"
    status = make(path)
    status.write()
    before = path.read_bytes()
    pid = os.fork()
    if pid == 0:
        status.update(state=RankState.FAILED)
        status.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_does_not_end_the_rank(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status = make(tmp_path / "missing" / "0000.json")
    status.write()
    status.write()
    assert len(caplog.records) == 1
