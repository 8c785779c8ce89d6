"""The supervisor's sign of life goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.runs.lock import read_supervisor
from launcher.specs import RunLayout
from launcher.supervise.generations import Heartbeat


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def beat_of(layout: RunLayout) -> tuple[int, float]:
    found = read_supervisor(layout)
    assert found is not None
    return found.attempt, found.heartbeat_at


def test_it_beats_without_being_asked_and_takes_its_word_back_at_the_end(layout: RunLayout) -> None:
    with Heartbeat(layout, newest=lambda: 7) as heartbeat:
        assert beat_of(layout)[0] == 0
        heartbeat.works_on(7)
        wait_until(lambda: beat_of(layout)[0] == 7)
        first = beat_of(layout)[1]
        wait_until(lambda: beat_of(layout)[1] > first)
        assert not heartbeat.superseded
    assert read_supervisor(layout) is None


def test_it_falls_silent_when_somebody_took_over(layout: RunLayout) -> None:
    with Heartbeat(layout, newest=lambda: 8) as heartbeat:
        heartbeat.works_on(7)
        wait_until(lambda: heartbeat.superseded)
        layout.supervisor.unlink()
    assert read_supervisor(layout) is None


def test_a_full_disk_does_not_end_it(layout: RunLayout) -> None:
    failed: list[int] = []

    def newest() -> int:
        if not failed:
            failed.append(1)
            raise OSError(28, "No space left on device")
        return 1

    with Heartbeat(layout, newest) as heartbeat:
        heartbeat.works_on(1)
        wait_until(lambda: bool(failed) and beat_of(layout)[0] == 1)
