from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.runs.lock import (
    STALE_S,
    beat,
    clear_stop,
    is_alive,
    leave,
    read_stop,
    read_supervisor,
    refusal,
    request_stop,
    rival,
)
from launcher.specs import RunLayout, to_json


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


def test_a_supervisor_that_beats_is_alive_until_it_leaves(layout: RunLayout) -> None:
    assert not is_alive(read_supervisor(layout))
    beat(layout, attempt=3)
    found = read_supervisor(layout)
    assert found is not None
    assert (found.pid, found.host, found.attempt) == (os.getpid(), socket.gethostname(), 3)
    assert is_alive(found)
    leave(layout)
    assert read_supervisor(layout) is None


def test_on_this_host_the_process_counts_not_the_heartbeat(layout: RunLayout) -> None:
    beat(layout, attempt=1)
    found = read_supervisor(layout)
    assert found is not None
    assert is_alive(replace(found, heartbeat_at=0.0))
    assert not is_alive(replace(found, pid=2**22 - 1))
    assert not is_alive(replace(found, process_started="1"))  # its id is another's by now


def test_on_another_host_the_heartbeat_counts(layout: RunLayout) -> None:
    beat(layout, attempt=1)
    found = read_supervisor(layout)
    assert found is not None
    now = time.time()
    other = replace(found, host="elsewhere", boot_id="x", heartbeat_at=now)
    assert is_alive(other, now=now + STALE_S - 1)
    assert not is_alive(other, now=now + STALE_S + 1)


def test_who_comes_too_early_on_another_host_is_told_how_long_to_wait(layout: RunLayout) -> None:
    beat(layout, attempt=1)
    found = read_supervisor(layout)
    assert found is not None
    what, hint = refusal(found, layout)
    assert found.name in what
    assert "repeat" not in hint
    other = replace(found, host="elsewhere", heartbeat_at=time.time() + 60)  # its clock is ahead
    what, hint = refusal(other, layout)
    assert what.endswith("on elsewhere, last heartbeat 0.0 s ago")
    assert f"if elsewhere is down, repeat the command in {STALE_S:.0f} s" in hint


def test_only_its_own_word_is_taken_back(layout: RunLayout) -> None:
    beat(layout, attempt=1)
    found = read_supervisor(layout)
    assert found is not None
    layout.supervisor.write_text(to_json(replace(found, pid=1)))
    leave(layout)
    assert read_supervisor(layout) is not None


def test_half_a_file_is_nobody(layout: RunLayout) -> None:
    layout.supervisor.write_text('{"pid": 1')
    assert read_supervisor(layout) is None


def test_a_process_is_not_its_own_rival(layout: RunLayout) -> None:
    beat(layout, attempt=1)
    assert rival(layout) is None


def test_the_same_process_id_on_another_host_is_somebody_else(layout: RunLayout) -> None:
    beat(layout, attempt=1)
    found = read_supervisor(layout)
    assert found is not None
    layout.supervisor.write_text(to_json(replace(found, host="elsewhere")))
    assert rival(layout) is not None
    leave(layout)
    assert read_supervisor(layout) is not None


@pytest.mark.parametrize(
    ("job_id", "restarts", "is_rival"), [("7", "1", False), ("7", "", True), ("8", "1", True)]
)
def test_a_requeued_job_takes_over_from_itself_at_once(
    layout: RunLayout,
    monkeypatch: pytest.MonkeyPatch,
    job_id: str,
    restarts: str,
    is_rival: bool,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    beat(layout, attempt=1)
    found = read_supervisor(layout)
    assert found is not None
    assert found.job is not None
    layout.supervisor.write_text(to_json(replace(found, host="cut-off")))
    monkeypatch.setenv("SLURM_JOB_ID", job_id)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    assert (rival(layout) is not None) == is_rival


def test_a_request_is_read_back_with_who_and_why(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert read_stop(layout) is None
    request = request_stop(layout, reason="enough")
    assert read_stop(layout) == request
    assert "@" in request.by
    clear_stop(layout)
    clear_stop(layout)
    assert read_stop(layout) is None


def test_a_file_that_a_user_wrote_by_hand_is_a_request_too(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    layout.stop.write_text('{"reason": "by hand", "at": "now"}')
    found = read_stop(layout)
    assert found is not None
    assert (found.reason, found.by) == ("by hand", "unknown")
