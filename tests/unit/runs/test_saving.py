from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.runs import events
from launcher.runs.saving import longest_save_s
from launcher.specs import RunLayout


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


def tell(layout: RunLayout, attempt: int, *told: events.Event) -> None:
    layout.attempt(attempt).path.mkdir(parents=True, exist_ok=True)
    for event in told:
        events.append(layout.attempt(attempt).events, event)


def step(layout: RunLayout, attempt: int, number: int, at: float) -> None:
    layout.attempt(attempt).path.mkdir(parents=True, exist_ok=True)
    with layout.attempt(attempt).metrics.open("a") as file:
        file.write(json.dumps({"step": number, "at": at, "step_time_s": 0.1}) + "\n")
        file.write(json.dumps({"step": number, "at": at + 90, "eval": {}}) + "\n")


def ended(at: float) -> events.AttemptEnded:
    return events.AttemptEnded(
        at=at,
        attempt=1,
        cause="",
        step=1,
        committed_step=1,
        seconds=1,
        restarting=False,
        why="",
    )


def asked(at: float, *, preempted: bool = True) -> events.StopRequested:
    return events.StopRequested(at=at, reason="", by="", preempted=preempted, grace_s=60)


def test_a_new_run_tells_nothing(layout: RunLayout) -> None:
    assert longest_save_s(layout) is None


def test_a_save_lasts_from_the_end_of_its_step_to_its_commit(layout: RunLayout) -> None:
    step(layout, 1, 10, at=100.0)
    step(layout, 1, 20, at=200.0)
    committed = [events.Committed(at=103.0, step=10), events.Committed(at=207.5, step=20)]
    tell(layout, 1, *committed, events.Committed(at=999.0, step=30))
    assert longest_save_s(layout) == 7.5


def test_a_preemption_counts_until_the_last_process_is_gone(layout: RunLayout) -> None:
    tell(layout, 1, asked(100.0), ended(142.0))
    assert longest_save_s(layout) == 42.0


def test_what_was_killed_or_failed_is_no_measure(layout: RunLayout) -> None:
    tell(layout, 1, asked(100.0), events.Killed(at=160.0, reason=""), ended(161.0))
    tell(layout, 2, asked(100.0, preempted=False), ended(170.0))
    assert longest_save_s(layout) is None
