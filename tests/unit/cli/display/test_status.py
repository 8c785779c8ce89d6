from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher import units
from launcher.cli.display.status import in_one_line, progress, state_of, text
from launcher.runs import RunState, RunStatus
from launcher.runs.metrics import Pace
from launcher.specs import RankState
from tests import make


def status(state: RunState, now: float) -> RunStatus:
    record = make.record(phase="start", heartbeat_at=1_700_000_000.0)
    return replace(make.status(make.plan(), record, now=now), state=state)


def shown(status: RunStatus) -> str:
    return text(status, why="launcher why r1")


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.LOST])
def test_a_run_that_goes_on_tells_how_long_ago_a_node_was_heard(state: RunState) -> None:
    assert shown(status(state, 1_700_000_048.0)).endswith("48 s ago")


@pytest.mark.parametrize("state", [RunState.DONE, RunState.FAILED, RunState.SAVED])
def test_the_last_sign_of_a_run_that_is_over_does_not_grow_older(state: RunState) -> None:
    moments = {shown(status(state, 1_700_000_000.0 + wait)) for wait in (1, 1e6)}
    assert len(moments) == 1
    at = units.moment(1_700_000_000.0)
    assert moments.pop().endswith(at)


def test_an_unchanged_script_is_in_its_program() -> None:
    lines = shown(status(RunState.RUNNING, 1_700_000_001.0)).splitlines()
    assert lines[-1].split()[:4] == ["local0", "1", "running", "program"]


def test_a_run_that_goes_on_with_fewer_nodes_says_so_in_one_line() -> None:
    found = status(RunState.RUNNING, 1_700_000_001.0)
    assert "restarted" not in shown(found)
    found = replace(found, restarted="once, continues with 2 of 3 nodes: without host2")
    lines = [line for line in shown(found).splitlines() if line.startswith("restarted ")]
    assert len(lines) == 1
    assert "once, continues with 2 of 3 nodes: without host2" in lines[0]


def test_the_progress_has_only_what_is_known() -> None:
    plan = make.plan()
    assert progress(make.status(plan)) == {}
    assert progress(make.status(plan, make.record(step=3))) == {"step": "step 3"}
    record = make.record(step=20, total_steps=100, loss=0.7, samples_per_s=64.0, committed_step=10)
    running = make.status(plan, record, pace=Pace().at(10, 0.0).at(20, 5.0))
    told = "step 20/100, loss 0.7000, 64.0 samples/s, 0:40 left, saved at step 10"
    assert ", ".join(progress(running).values()) == told
    assert f"progress    {told}" in shown(running)
    assert in_one_line(running) == f"r1: running  {told.replace(', ', '  ')}"


def test_a_run_that_is_over_shows_no_rate_and_no_time_left() -> None:
    record = make.record(step=20, total_steps=100, samples_per_s=64.0)
    over = make.status(
        make.plan(), record, supervisor_alive=False, pace=Pace().at(10, 0.0).at(20, 5.0)
    )
    assert list(progress(over)) == ["step"]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"phase": "eval"}, "eval"),
        ({"phase": "start", "step": 1}, "running"),
        ({"phase": "start"}, "running"),
        ({"state": RankState.FAILED}, "failed"),
    ],
)
def test_a_node_is_in_the_phase_of_its_ranks_or_says_how_they_ended(
    values: dict[str, Any], word: str
) -> None:
    (node,) = make.status(make.plan(), make.record(**values)).nodes
    assert state_of(node) == word


def test_a_node_waits_until_a_rank_reports() -> None:
    (node,) = make.status(make.plan()).nodes
    assert state_of(node) == "waiting"
