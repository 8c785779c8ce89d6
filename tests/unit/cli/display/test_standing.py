from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher import units
from launcher.cli.display.standing import text
from launcher.runs import RunState, RunStatus
from launcher.runs.status import node_statuses


def status(plan_of: Any, record: Any, state: RunState, now: float) -> RunStatus:
    plan = replace(plan_of(1), recipe="script")
    records = [record(0, 0, phase="start", heartbeat_at=1_700_000_000.0)]
    return RunStatus(
        run_id="r",
        state=state,
        attempt=1,
        recipe=plan.recipe,
        step=0,
        total_steps=0,
        loss=None,
        samples_per_s=None,
        eta_s=None,
        started_at=None,
        updated_at=None,
        committed_step=None,
        supervisor_alive=False,
        supervisor="",
        nodes=node_statuses(plan, records, now=now),
        restarted="",
        result={},
    )


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.LOST])
def test_a_run_that_goes_on_tells_how_long_ago_a_node_was_heard(
    plan_of: Any, record: Any, state: RunState
) -> None:
    assert text(status(plan_of, record, state, 1_700_000_048.0)).endswith("48 s ago")


@pytest.mark.parametrize("state", [RunState.DONE, RunState.FAILED, RunState.SAVED])
def test_the_last_sign_of_a_run_that_is_over_does_not_grow_older(
    plan_of: Any, record: Any, state: RunState
) -> None:
    shown = {text(status(plan_of, record, state, 1_700_000_000.0 + wait)) for wait in (1, 1e6)}
    assert len(shown) == 1
    at = units.moment(1_700_000_000.0)
    assert shown.pop().endswith(at)


def test_an_unchanged_script_is_in_its_program(plan_of: Any, record: Any) -> None:
    shown = text(status(plan_of, record, RunState.RUNNING, 1_700_000_001.0))
    assert shown.splitlines()[-1].split()[:4] == ["local0", "1", "running", "program"]


def test_a_run_that_goes_on_with_fewer_nodes_says_so_in_one_line(plan_of: Any, record: Any) -> None:
    found = status(plan_of, record, RunState.RUNNING, 1_700_000_001.0)
    assert "restarted" not in text(found)
    found = replace(found, restarted="once, goes on with 2 of 3 nodes: without host2")
    shown = [line for line in text(found).splitlines() if line.startswith("restarted ")]
    assert len(shown) == 1
    assert "once, goes on with 2 of 3 nodes: without host2" in shown[0]
