from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.specs import RunLayout
from launcher.supervise.result import finished


@pytest.fixture
def done(tmp_path: Path) -> RunLayout:
    layout = RunLayout.of(tmp_path, "r")
    layout.attempt(1).path.mkdir(parents=True)
    layout.result.write_text(json.dumps({"state": "done", "attempts": 1, "steps": 5}))
    return layout


def test_a_run_that_is_done_is_read_back(done: RunLayout) -> None:
    found = finished(done)
    assert found is not None
    assert (found.steps, found.exit_code) == (5, 0)


def test_a_later_attempt_without_a_result_was_killed_and_is_not_done(done: RunLayout) -> None:
    done.attempt(2).path.mkdir()
    assert finished(done) is None


def test_a_run_that_failed_is_not_done(done: RunLayout) -> None:
    done.result.write_text(json.dumps({"state": "failed", "attempts": 1}))
    assert finished(done) is None
