"""Plain lines for files and pipes."""

from __future__ import annotations

from typing import Any

from launcher.cli.display.lines import LineSurface
from launcher.cli.display.surface import StagingProgress
from launcher.runs import RunStatus
from tests import make


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def status(step: int, **values: Any) -> RunStatus:
    return make.status(make.plan(), make.record(step=step, **values))


def test_progress_is_printed_at_most_every_five_seconds_and_only_when_it_changed() -> None:
    lines: list[str] = []
    clock = Clock()
    surface = LineSurface(lines.append, every_s=5.0, clock=clock)
    for tenth in range(300):
        clock.now = tenth / 10
        now = status(min(int(clock.now), 12), total_steps=100, loss=0.5, committed_step=4)
        surface.training(now)
    assert lines == [
        "step 5/100  loss 0.5000  saved at step 4  [train]",
        "step 10/100  loss 0.5000  saved at step 4  [train]",
        "step 12/100  loss 0.5000  saved at step 4  [train]",
    ]


def test_before_the_first_step_the_line_has_the_states_of_the_nodes() -> None:
    lines: list[str] = []
    clock = Clock()
    surface = LineSurface(lines.append, clock=clock)
    clock.now = 6.0
    surface.training(status(0))
    assert lines == ["nodes: train"]


def test_staging_shows_bytes_rate_and_time_left() -> None:
    lines: list[str] = []
    clock = Clock()
    surface = LineSurface(lines.append, clock=clock)
    item = StagingProgress(name="model", uri="u", total=83_500_000, began=0.0)
    item.advance(10_000_000, 1.0)
    item.advance(20_000_000, 2.0)
    other = StagingProgress(name="data", uri="u", total=2000, began=0.0, unit="texts", done=500)
    clock.now = 6.0
    surface.staging([item, other])
    assert lines == [
        "staging model: 20.0 MB of 83.5 MB, 10.0 MB/s, 0:06 left | staging data: 500 texts of 2,000"
    ]


def test_lines_are_printed_immediately_and_unchanged() -> None:
    lines: list[str] = []
    LineSurface(lines.append).say("[bold]x", "dim")
    assert lines == ["[bold]x"]
