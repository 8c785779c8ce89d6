from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.errors import UnknownNameError
from launcher.runs import RunState, lock, read_status
from launcher.runs.metrics import Pace
from launcher.specs import RankState, RunLayout, to_json
from tests import make
from tests.run_folder import RunFolder

T0 = 1_700_000_000.0


def test_a_running_run_tells_step_loss_rate_and_time_left(folder: RunFolder) -> None:
    folder.begin()
    lock.beat(folder.layout, attempt=1)
    folder.metrics([{"step": s, "loss": 1.0, "at": T0 + 2 + s / 2} for s in range(1, 21)])
    for rank in range(4):
        step = 20 + rank
        folder.rank(rank, step=step, loss=0.7, samples_per_s=64.0, committed_step=10)
    status = read_status(folder.layout, now=T0 + 12)
    assert status.state is RunState.RUNNING
    assert (status.step, status.total_steps, status.loss, status.samples_per_s) == (
        20,
        100,
        0.7,
        64,
    )
    assert status.eta_s == pytest.approx(40.0)
    assert status.committed_step == 10
    assert status.supervisor_alive
    assert [node.state for node in status.nodes] == ["running"] * 4
    assert status.nodes[0].heartbeat_age_s == pytest.approx(2.0)
    lock.leave(folder.layout)
    assert read_status(folder.layout).state is RunState.LOST


@pytest.mark.parametrize("state", ["done", "failed", "saved", "stopped"])
def test_a_run_that_ended_says_how(folder: RunFolder, state: str) -> None:
    folder.begin().ended(state)
    assert read_status(folder.layout).state == state


def test_a_run_that_is_started_again_is_no_longer_ended(folder: RunFolder) -> None:
    folder.begin(attempt=1).ended("failed")
    folder.begin(attempt=2)
    lock.beat(folder.layout, attempt=2)
    assert read_status(folder.layout).attempt == 2
    assert read_status(folder.layout).state is RunState.RUNNING


def test_a_run_that_was_asked_to_stop_is_stopping(folder: RunFolder) -> None:
    folder.begin().stopped(by="me@here")
    lock.beat(folder.layout, attempt=1)
    assert read_status(folder.layout).state is RunState.STOPPING


def test_a_folder_without_an_attempt_is_staging(folder: RunFolder) -> None:
    folder.layout.path.mkdir(parents=True)
    assert read_status(folder.layout).state is RunState.STAGING


def test_a_node_is_as_bad_as_its_worst_rank_and_silent_without_records(folder: RunFolder) -> None:
    folder.begin().rank(1, state=RankState.FAILED).gone(2)
    nodes = read_status(folder.layout).nodes
    assert [node.state for node in nodes] == ["running", "failed", "silent", "running"]
    assert nodes[2].heartbeat_age_s is None


def test_an_unknown_run_offers_the_nearest(folder: RunFolder) -> None:
    folder.begin()
    with pytest.raises(UnknownNameError, match="did you mean `r1`"):
        read_status(RunLayout(folder.layout.path.with_name("r11")))


def test_the_live_status_and_that_of_the_folder_are_the_same(folder: RunFolder) -> None:
    folder.begin()
    lock.beat(folder.layout, attempt=1)
    records = []
    for rank in range(4):
        folder.rank(rank, step=20 + rank, samples_per_s=64.0, committed_step=10)
        records.append(folder.record(rank))
    folder.metrics([{"step": step, "at": T0 + step} for step in range(1, 21)])
    read = read_status(folder.layout, now=T0 + 20)
    pace = Pace()
    for step in range(1, 21):
        pace = pace.at(step, 5.0 + step)
    events = {1: folder.events()}
    live = make.status(folder.plan(), *records, pace=pace, history=events, now=T0 + 20)
    assert replace(read, supervisor="") == live
    assert live.step == 20
    assert live.eta_s == pytest.approx(80.0)


def test_there_is_a_node_status_before_any_rank_reported() -> None:
    nodes = make.status(make.plan(2, 1)).nodes
    assert [(each.node, each.role, each.ranks, each.reporting, each.state) for each in nodes] == [
        ("local0", "head", 2, 0, "silent"),
        ("local1", "worker", 1, 0, "silent"),
    ]


def test_a_node_has_the_step_of_its_slowest_and_the_state_of_its_worst_rank() -> None:
    status = make.status(
        make.plan(2, 1),
        make.record(0, 0, step=7, loss=0.5, samples_per_s=90.0),
        make.record(1, 0, step=5, state=RankState.FAILED),
        make.record(2, 1, step=7, phase="eval"),
    )
    assert [(node.state, node.step) for node in status.nodes] == [("failed", 5), ("running", 7)]
    assert [node.samples_per_s for node in status.nodes] == [60.0, 30.0]
    assert (status.step, status.loss, status.samples_per_s) == (5, 0.5, 90.0)


def test_the_newest_commit_that_any_rank_knows_counts() -> None:
    records = [make.record(0, committed_step=10), make.record(1, committed_step=20)]
    assert make.status(make.plan(1, 1), *records).committed_step == 20


def test_a_script_that_takes_no_steps_is_running_once_its_program_is(folder: RunFolder) -> None:
    folder.begin(nodes=1)
    lock.beat(folder.layout, attempt=1)
    plan = replace(folder.plan(), recipe="script")
    folder.layout.attempt(1).plan.write_text(to_json(plan))
    folder.rank(0, step=0, phase="start", state=RankState.STARTING)
    assert read_status(folder.layout).state is RunState.STARTING
    folder.rank(0, step=0, phase="start")
    assert read_status(folder.layout).state is RunState.RUNNING


def test_a_run_that_lost_a_node_and_was_restarted_says_so(folder: RunFolder) -> None:
    folder.begin(nodes=3).lost(2, "no sign of life").restarts()
    assert read_status(folder.layout).restarted == ""
    folder.begin(nodes=2, attempt=2).changed("local2").restarts()
    assert (
        read_status(folder.layout).restarted == "once, continues with 2 of 3 nodes: without local2"
    )
    folder.begin(nodes=2, attempt=3)
    told = "2 times, continues with 2 of 3 nodes: without local2"
    assert read_status(folder.layout).restarted == told


def test_a_run_that_somebody_resumed_counts_its_restarts_anew(folder: RunFolder) -> None:
    folder.begin(nodes=3).restarts()
    folder.begin(nodes=2, attempt=2).changed("local2").ended("stopped")
    folder.begin(nodes=3, attempt=3)
    assert read_status(folder.layout).restarted == ""
