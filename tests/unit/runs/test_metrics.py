from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from launcher.runs import metrics

if TYPE_CHECKING:
    RunFolder = Any


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


def test_work_done_twice_is_lost_once(folder: RunFolder) -> None:
    folder.begin(attempt=1).metrics([line(step, 1.0) for step in range(1, 11)])
    assert metrics.lost_seconds(folder.layout) == 0
    folder.begin(attempt=2).metrics([line(step, 1.0) for step in range(8, 12)])
    assert metrics.lost_seconds(folder.layout) == 1.5


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
