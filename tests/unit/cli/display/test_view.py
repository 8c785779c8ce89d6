"""Records of ranks to lines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher.cli.display.view import Pace, view
from launcher.specs import RankState


def test_there_is_one_line_per_node_also_before_any_rank_reported(plan_of: Any) -> None:
    shown = view(plan_of(2, 1), (), Pace(), 0.0)
    assert [(row.name, row.role, row.ranks, row.state) for row in shown.nodes] == [
        ("local0", "head", "0/2", "waiting"),
        ("local1", "worker", "0/1", "waiting"),
    ]


def test_a_nodes_line_is_that_of_its_slowest_and_worst_rank(plan_of: Any, record: Any) -> None:
    records = [
        record(0, 0, step=7, loss=0.5, samples_per_s=90.0),
        record(1, 0, step=5, state=RankState.FAILED),
        record(2, 1, step=7, phase="eval"),
    ]
    shown = view(plan_of(2, 1), records, Pace(), 0.0)
    assert [(row.state, row.step) for row in shown.nodes] == [("failed", 5), ("eval", 7)]
    assert [row.samples_per_s for row in shown.nodes] == [60.0, 30.0]
    assert (shown.step, shown.loss, shown.samples_per_s) == (7, 0.5, 90.0)


def test_a_program_without_phases_is_running_once_it_steps(plan_of: Any, record: Any) -> None:
    shown = view(plan_of(1), [record(0, 0, phase="start", step=1)], Pace(), 0.0)
    assert shown.nodes[0].state == "running"


def test_a_script_that_takes_no_steps_is_running_from_its_first_line(
    plan_of: Any, record: Any
) -> None:
    silent = record(0, 0, phase="start")
    assert view(plan_of(1), [silent], Pace(), 0.0).nodes[0].state == "running"
    recipe = replace(plan_of(1), recipe="bert_finetune")
    assert view(recipe, [silent], Pace(), 0.0).nodes[0].state == "start"


def test_the_newest_commit_that_any_rank_knows_is_shown(plan_of: Any, record: Any) -> None:
    records = [record(0, 0, committed_step=10), record(1, 0, committed_step=20)]
    assert view(plan_of(2), records, Pace(), 0.0).committed_step == 20


def test_time_left_follows_the_last_minute_and_ignores_the_start() -> None:
    pace = Pace()
    assert pace.left_s(0, 100, 0.0) is None
    assert pace.left_s(1, 100, 40.0) is None  # 40 s of importing are no 40 s per step
    assert pace.left_s(11, 100, 50.0) == pytest.approx(89.0)
    assert pace.left_s(11, 100, 52.0) == pytest.approx(87.0)
    for second in range(
        60, 200
    ):  # it gets twice as slow, and after a minute that is all that counts
        left = pace.left_s(11 + (second - 50) // 2, 100, float(second))
    assert left == pytest.approx(2 * (100 - 85), abs=2)


def test_time_left_is_unknown_without_a_total() -> None:
    pace = Pace()
    pace.left_s(1, 0, 0.0)
    assert pace.left_s(2, 0, 1.0) is None
