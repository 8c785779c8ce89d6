"""What is told to a surface while a run goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from launcher.cli.display import RunDisplay
from launcher.cli.display.surface import StagingProgress
from launcher.runs import RunState, RunStatus, events
from launcher.specs import StagedItem, StageItem
from launcher.staging import CountingProgress
from launcher.supervise import Observer
from tests import make


class FakeSurface:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.items: list[tuple[str, int, int | None, str]] = []
        self.statuses: list[RunStatus] = []
        self.closed = 0

    def say(self, text: str, style: str = "") -> None:
        assert style in ("", "dim", "bold", "good", "bad", "note")
        self.said.append(text)

    def echo(self, text: str) -> None:
        self.said.append(text)

    def staging(self, items: Sequence[StagingProgress]) -> None:
        self.items += [(each.name, each.done, each.total, each.unit) for each in items]

    def training(self, status: RunStatus) -> None:
        self.statuses.append(status)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def surface() -> FakeSurface:
    return FakeSurface()


def staged(name: str, transferred: int) -> StagedItem:
    return StagedItem(
        name=name,
        key="k",
        path="/p",
        size_bytes=83_500_000,
        files=4,
        transferred_bytes=transferred,
        seconds=7.0,
    )


def test_it_is_what_the_supervisor_and_staging_want(surface: FakeSurface) -> None:
    display = RunDisplay(surface)
    observer: Observer = display
    assert observer is display
    assert isinstance(display, CountingProgress)


def test_the_plan_is_told_in_a_few_short_lines(surface: FakeSurface) -> None:
    plan = make.plan(1, 1, 1, 1)
    RunDisplay(surface).planned(plan)
    assert surface.said[0] == "run         r1, attempt 1"
    assert surface.said[2] == "ranks       4 on head and 3 workers, cpu, torchrun"
    assert len(surface.said) <= 8


def test_a_password_in_a_source_is_not_shown(surface: FakeSurface) -> None:
    plan = make.plan(1)
    item = StageItem(name="model", uri="https://me:secret@host/x")
    object.__setattr__(plan, "stage", (item,))
    RunDisplay(surface).planned(plan)
    assert "secret" not in "\n".join(surface.said)


def test_that_the_checks_passed_is_said_once_when_something_follows(surface: FakeSurface) -> None:
    display = RunDisplay(surface)
    display.planned(make.plan(1))
    assert "checks      all passed" not in surface.said
    display.started("model", "pypi://x", 100)
    display.attempt(make.plan(1))
    assert surface.said.count("checks      all passed") == 1


def test_staging_draws_what_is_on_its_way_and_says_what_arrived(surface: FakeSurface) -> None:
    display = RunDisplay(surface)
    display.started("model", "pypi://x", None)
    display.started("data", "build:///b.py", None)
    display.started("model", "pypi://x", 100)
    display.advanced("model", 40)
    display.counted("data", 5, 20, "texts")
    assert surface.items[-2:] == [("model", 40, 100, "B"), ("data", 5, 20, "texts")]
    display.finished(staged("model", 83_500_000))
    display.started("other", "pypi://x", 100)
    display.finished(staged("other", 0))
    display.finished(staged("data", 0))
    assert surface.said == [
        "staged      model: 83.5 MB in 4 files, 7.0 s",
        "staged      other: 83.5 MB in 4 files, already staged",
        "staged      data: 83.5 MB in 4 files, 7.0 s",
    ]
    assert surface.closed == 1


def test_ranks_are_drawn_by_the_plan_of_their_attempt(surface: FakeSurface) -> None:
    display = RunDisplay(surface, clock=lambda: 0.0)
    display.ranks([make.record(0, 0)])
    assert surface.statuses == []
    display.attempt(make.plan(1, 1))
    display.ranks([make.record(0, 0, step=3)])
    assert [row.step for row in surface.statuses[-1].nodes] == [3, 0]


def test_a_run_is_drawn_with_its_slowest_step_its_pace_and_its_events(surface: FakeSurface) -> None:
    times = iter((0.0, 100.0, 110.0, 120.0))
    display = RunDisplay(surface, clock=lambda: next(times))
    display.attempt(make.plan(1, 1))
    for step in (1, 11):
        values = {"total_steps": 100}
        display.ranks(
            [make.record(0, step=step + 1, **values), make.record(1, step=step, **values)]
        )
    shown = surface.statuses[-1]
    assert (shown.state, shown.step, shown.eta_s) == (RunState.RUNNING, 11, 89.0)
    display.event(events.Committed(at=0, step=10))
    display.event(
        events.StopRequested(at=0, reason="Ctrl-C", by="me", preempted=False, grace_s=60.0)
    )
    display.ranks([make.record(0, step=12)])
    assert surface.statuses[-1].state is RunState.STOPPING
    assert surface.statuses[-1].committed_step == 10


def test_output_of_rank_0_is_echoed_unless_that_is_off(surface: FakeSurface) -> None:
    RunDisplay(surface).output("[red]hello")
    RunDisplay(surface, echo=False).output("quiet")
    assert surface.said == ["[red]hello"]


def test_every_kind_of_event_is_taken_and_the_important_ones_are_told(surface: FakeSurface) -> None:
    display = RunDisplay(surface)
    for event in (
        events.AttemptStarted(at=0, attempt=2, nodes=1, world_size=1, backend="t", resumes_step=40),
        events.AttemptStarted(at=0, attempt=1, nodes=1, world_size=1, backend="t"),
        events.NodeStarted(at=0, node_rank=0, node="n", pid=1),
        events.NodeExited(at=0, node_rank=0, node="n", exit_code=0),
        events.RanksJoined(at=0, ranks=1),
        events.RankFailed(at=0, rank=3, node="local3", what="ValueError: bad"),
        events.Committed(at=0, step=100),
        events.StopRequested(at=0, reason="Ctrl-C", by="me", preempted=False, grace_s=60.0),
        events.StopRequested(
            at=0, reason="a failure", by="the supervisor", preempted=False, grace_s=5.0
        ),
        events.Killed(at=0, reason="asked twice"),
        events.RunEnded(at=0, state="failed", exit_code=5),
    ):
        display.event(event)
    assert surface.said == [
        "resume      attempt 2 continues from step 40",
        "failed      rank 3 on local3: ValueError: bad",
        "saved       checkpoint of step 100",
        "stopping    Ctrl-C: saving a checkpoint, at most 1 min; Ctrl-C kills them now",
        "stopping    a failure: stopping the other ranks, at most 5.0 s; Ctrl-C kills them now",
        "killed      the remaining processes: asked twice",
    ]
