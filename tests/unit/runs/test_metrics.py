from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from launcher.runs import metrics
from launcher.runs.metrics import Pace
from tests.run_folder import RunFolder


def line(step: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"step": step, "loss": loss, "step_time_s": 0.5, **more}


def test_for_each_step_the_newest_attempt_counts(folder: RunFolder) -> None:
    folder.begin(attempt=1).metrics([line(step, 1.0) for step in (1, 2, 3, 4)])
    folder.begin(attempt=2).metrics([line(3, 2.0), line(4, 2.0), line(5, 2.0)])
    found = metrics.history(folder.layout)
    assert [(each["step"], each["loss"], each["attempt"]) for each in found] == [
        (1, 1.0, 1),
        (2, 1.0, 1),
        (3, 2.0, 2),
        (4, 2.0, 2),
        (5, 2.0, 2),
    ]


def test_evaluations_stand_after_the_step_they_belong_to(folder: RunFolder) -> None:
    folder.begin().metrics([line(1, 1.0), {"step": 1, "eval": {"accuracy": 0.5}}, line(2, 0.9)])
    found = metrics.history(folder.layout)
    assert ["eval" in each for each in found] == [False, True, False]
    assert len(metrics.steps(found)) == 2
    assert len(metrics.evaluations(found)) == 1


def test_merging_keeps_every_digit_and_survives_a_cut_line(folder: RunFolder) -> None:
    loss = 0.1 + 0.2
    folder.begin().metrics([line(1, loss)])
    with folder.layout.attempt(1).metrics.open("a") as file:
        file.write('{"step": 2, "lo')
    metrics.merge(folder.layout)
    (only,) = [json.loads(text) for text in folder.layout.metrics.read_text().splitlines()]
    assert only["loss"] == loss
    metrics.merge(folder.layout)
    assert len(folder.layout.metrics.read_text().splitlines()) == 1


def test_the_time_left_follows_the_last_minute_and_ignores_the_start() -> None:
    pace = Pace().at(0, 0.0)
    assert pace.left_s(0, 100) is None
    pace = pace.at(1, 40.0)  # 40 s of importing are not 40 s per step
    assert pace.left_s(1, 100) is None
    pace = pace.at(11, 50.0)
    assert pace.left_s(11, 100) == pytest.approx(89.0)
    assert pace.at(11, 52.0).left_s(11, 100) == pytest.approx(87.0)
    for second in range(60, 200):  # twice as slow: after a minute only that counts
        pace = pace.at(11 + (second - 50) // 2, float(second))
    assert pace.left_s(85, 100) == pytest.approx(2 * (100 - 85), abs=2)


def test_the_time_left_of_slow_steps_counts_the_last_two() -> None:
    pace = Pace().at(1, 0.0).at(2, 100.0).at(3, 300.0)
    assert pace.left_s(3, 5) == pytest.approx(400.0)


def test_the_time_left_is_unknown_without_a_total_or_a_second_step() -> None:
    pace = Pace().at(1, 0.0)
    assert pace.left_s(1, 10) is None
    assert pace.at(2, 1.0).left_s(2, 0) is None


def test_a_clock_that_is_behind_that_of_rank_0_does_not_add_time() -> None:
    pace = replace(Pace().at(1, 100.0).at(2, 101.0), now=50.0)
    assert pace.left_s(2, 12) == pytest.approx(10.0)
