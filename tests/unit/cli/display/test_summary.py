"""How a run's end is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.cli.display.summary import summary
from launcher.failures import FailureKind, FirstFailure
from launcher.runs.command_line import CommandLine
from launcher.specs import RunLayout
from launcher.supervise import Outcome, OutcomeState


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    found = RunLayout.of(tmp_path / "outputs", "r")
    found.attempt(1).logs.mkdir(parents=True)
    found.report.write_text("")
    return found


def lines(layout: RunLayout, *, report: str = "", **values: Any) -> str:
    base: dict[str, Any] = {
        "run_id": "r",
        "state": OutcomeState.DONE,
        "exit_code": 0,
        "attempts": 1,
        "steps": 240,
        "committed_step": None,
        "seconds": {"stage": 10.0, "train": 141.0},
    }
    outcome = Outcome(**{**base, **values})
    cwd = layout.path.parents[2]
    commands = CommandLine(program=("launcher",), default_root=str(cwd / "outputs"))
    told = summary(outcome, layout, commands, repeat="launcher recipe=x", report=report, cwd=cwd)
    return "\n".join(text for text, _ in told)


def test_a_finished_run_shows_result_places_and_how_to_repeat_it(layout: RunLayout) -> None:
    text = lines(layout, result={"accuracy": 0.9123456, "steps": 240, "answer": "yes"})
    assert text.splitlines() == [
        "",
        "done: 240 steps, 2 min 31 s",
        "result      accuracy 0.9123, steps 240",
        "answer      yes",
        "run folder  outputs/runs/r",
        "report      outputs/runs/r/report.html",
        "logs        outputs/runs/r/attempts/0001/logs",
        "repeat      launcher recipe=x",
    ]


def test_a_trained_model_is_offered_for_export(layout: RunLayout) -> None:
    assert "export" not in lines(layout, committed_step=240)
    layout.staged.write_text('{"model": "/staged/model-1"}')
    assert "export" not in lines(layout)
    text = lines(layout, committed_step=240)
    assert "export      launcher checkpoints export r --to ./model" in text


def test_a_stopped_run_shows_where_it_is_saved_and_how_to_go_on(layout: RunLayout) -> None:
    layout.checkpoints.mkdir()
    text = lines(layout, state=OutcomeState.STOPPED, exit_code=130, committed_step=200)
    assert "stopped: 240 steps, 2 min 31 s; saved at step 200" in text
    assert "checkpoints outputs/runs/r/checkpoints" in text
    assert "resume      launcher resume r" in text


def test_a_failed_run_ends_with_the_incident_report(layout: RunLayout) -> None:
    text = lines(
        layout, state=OutcomeState.FAILED, exit_code=5, attempts=1, report="FIRST FAILURE\nrank 3"
    )
    assert "FIRST FAILURE\nrank 3" in text
    assert "failed: 240 steps" in text


def test_several_attempts_are_counted(layout: RunLayout) -> None:
    assert "3 attempts" in lines(layout, attempts=3)


def test_a_preempted_run_does_not_claim_a_save_that_never_was(layout: RunLayout) -> None:
    text = lines(layout, state=OutcomeState.SAVED, exit_code=75, steps=0)
    assert "stopped with nothing saved, and wants to be started again" in text


@pytest.mark.parametrize(
    ("kind", "saved"), [(FailureKind.NO_CHECKPOINT, False), (FailureKind.EXCEPTION, True)]
)
def test_a_failure_to_read_all_checkpoints_is_not_called_saved(
    layout: RunLayout, kind: FailureKind, *, saved: bool
) -> None:
    failure = FirstFailure(
        kind=kind, at=1.0, attempt=1, rank=0, node_rank=0, node="n", sentence="x", next_step="y"
    )
    failed: dict[str, Any] = {
        "state": OutcomeState.FAILED,
        "first_failure": failure,
        "committed_step": 30,
    }
    assert ("saved at step 30" in lines(layout, **failed)) is saved
