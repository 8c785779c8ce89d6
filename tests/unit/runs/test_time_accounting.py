from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.runs import events
from launcher.runs.time_accounting import longest_save_s, lost_seconds, seconds_by_phase
from launcher.specs import RunLayout
from tests.run_folder import RunFolder


def test_every_second_of_an_attempt_is_in_one_bucket(folder: RunFolder) -> None:
    folder.begin(spent=20.0)
    folder.rank(0, phase_seconds={"start": 1.0, "train": 8.0, "save": 2.0})
    folder.ended(at=15.0)
    found = seconds_by_phase(folder.layout)
    # one second before the rank's first word, three after its last
    assert found == pytest.approx({"stage": 20, "start": 2, "train": 8, "save": 2, "end": 3})
    assert list(found) == ["stage", "start", "train", "save", "end"]


def test_a_script_without_phases_has_its_time_as_program(folder: RunFolder) -> None:
    folder.begin().rank(0, phase="start", step=5, phase_seconds={"start": 9.0}).ended(at=12.0)
    assert seconds_by_phase(folder.layout)["program"] == 9.0


def test_lost_work_is_taken_out_of_training(folder: RunFolder) -> None:
    lines = [{"step": step, "loss": 1.0, "step_time_s": 1.0} for step in range(1, 6)]
    folder.begin(attempt=1).metrics(lines).rank(0, phase_seconds={"train": 5.0}).ended(at=6.0)
    folder.begin(attempt=2).metrics(lines[3:]).rank(0, phase_seconds={"train": 2.0}).ended(at=3.0)
    found = seconds_by_phase(folder.layout)
    assert (found["train"], found["lost"]) == (5.0, 2.0)


def steps(numbers: range) -> list[dict[str, Any]]:
    return [{"step": number, "step_time_s": 0.5} for number in numbers]


def test_work_done_twice_is_lost_once(folder: RunFolder) -> None:
    folder.begin(attempt=1).metrics(steps(range(1, 11)))
    assert lost_seconds(folder.layout) == 0
    folder.begin(attempt=2).metrics(steps(range(8, 12)))
    assert lost_seconds(folder.layout) == 1.5


def test_an_attempt_whose_supervisor_was_killed_counts_up_to_its_last_word(
    folder: RunFolder,
) -> None:
    folder.begin().rank(0, at=10.0, phase_seconds={"train": 9.0})
    assert sum(seconds_by_phase(folder.layout).values()) == pytest.approx(10.0)


def test_a_run_without_attempts_spent_nothing(folder: RunFolder) -> None:
    assert seconds_by_phase(folder.layout) == {}


def test_phases_that_a_program_names_stand_before_the_ranks_leave(folder: RunFolder) -> None:
    seconds = {"start": 1.0, "tokenize": 3.0, "load": 2.0, "train": 4.0, "other": 1.0}
    folder.begin().rank(0, at=12.0, phase_seconds=seconds).ended(at=15.0)
    names = ["start", "load", "train", "tokenize", "other", "end"]
    assert list(seconds_by_phase(folder.layout)) == names


def test_the_time_of_a_program_stands_before_the_ranks_leave(folder: RunFolder) -> None:
    folder.begin().rank(0, phase="start", step=5, phase_seconds={"start": 9.0}).ended(at=15.0)
    assert list(seconds_by_phase(folder.layout)) == ["start", "program", "end"]


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
