"""Who owns a run: the heartbeat of the supervisor, and what happens when another one takes over."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import NotRequeueable
from launcher.runs.lock import read_supervisor
from launcher.specs import RunLayout
from launcher.supervise.ownership import Ownership
from tests.unit.supervise.conftest import FakeGenerations, Scene


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    layout = RunLayout.of(tmp_path, "r1")
    layout.path.mkdir(parents=True)
    return layout


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def beat_of(layout: RunLayout) -> tuple[int, float]:
    found = read_supervisor(layout)
    assert found is not None
    return found.attempt, found.heartbeat_at


def test_the_heartbeat_is_written_by_itself_and_removed_at_the_end(layout: RunLayout) -> None:
    with Ownership(layout, FakeGenerations(layout)) as ownership:
        assert beat_of(layout)[0] == 0
        ownership.claim_first(Scene(layout=layout).plan_for(1))
        wait_until(lambda: beat_of(layout)[0] == 1)
        first = beat_of(layout)[1]
        wait_until(lambda: beat_of(layout)[1] > first)
        assert not ownership.superseded
        ownership.require(1)
    assert read_supervisor(layout) is None


def test_the_heartbeat_ends_when_another_supervisor_has_taken_over(layout: RunLayout) -> None:
    generations = FakeGenerations(layout)
    with Ownership(layout, generations) as ownership:
        ownership.claim_first(Scene(layout=layout).plan_for(1))
        generations.claim(2, info={})
        wait_until(lambda: ownership.superseded)
        layout.supervisor.unlink()
        with pytest.raises(NotRequeueable, match="another supervisor started attempt 2"):
            ownership.require(1)
    assert read_supervisor(layout) is None


class FullDisk(FakeGenerations):
    """The folder of claims cannot be read once."""

    failed = False

    def newest(self) -> int:
        if not self.failed:
            self.failed = True
            raise OSError(28, "No space left on device")
        return super().newest()


def test_a_full_disk_does_not_end_the_heartbeat(layout: RunLayout) -> None:
    generations = FullDisk(layout)
    with Ownership(layout, generations) as ownership:
        ownership.claim_first(Scene(layout=layout).plan_for(1))
        wait_until(lambda: generations.failed and beat_of(layout)[0] == 1)
