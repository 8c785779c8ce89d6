"""Plain lines for files and pipes."""

from __future__ import annotations

from launcher.cli.display.items import ItemView
from launcher.cli.display.lines import LineSurface
from launcher.cli.display.view import NodeRow, RunView


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def view(step: int, **values: object) -> RunView:
    row = NodeRow(
        name="n", role="head", ranks="1", state="train", step=step, loss=None, samples_per_s=None
    )
    return RunView(run_id="r", attempt=1, nodes=(row,), step=step, **values)  # type: ignore[arg-type]


def test_progress_is_printed_at_most_every_five_seconds_and_only_when_it_is_news() -> None:
    lines: list[str] = []
    clock = Clock()
    surface = LineSurface(lines.append, every_s=5.0, clock=clock)
    for tenth in range(300):
        clock.now = tenth / 10
        surface.training(view(min(int(clock.now), 12), total_steps=100, loss=0.5, left_s=92))
    assert lines == [
        "step 5/100  loss 0.5000  1:32 left  [train]",
        "step 10/100  loss 0.5000  1:32 left  [train]",
        "step 12/100  loss 0.5000  1:32 left  [train]",
    ]


def test_before_the_first_step_the_states_of_the_nodes_are_told() -> None:
    lines: list[str] = []
    clock = Clock()
    surface = LineSurface(lines.append, clock=clock)
    clock.now = 6.0
    surface.training(view(0))
    assert lines == ["nodes: train"]


def test_staging_tells_bytes_rate_and_time_left() -> None:
    lines: list[str] = []
    clock = Clock()
    surface = LineSurface(lines.append, clock=clock)
    item = ItemView(name="model", uri="u", total=83_500_000, began=0.0)
    item.advance(10_000_000, 1.0)
    item.advance(20_000_000, 2.0)
    other = ItemView(name="data", uri="u", total=2000, began=0.0, unit="texts", done=500)
    clock.now = 6.0
    surface.staging([item, other])
    assert lines == [
        "staging model: 20.0 MB of 83.5 MB, 10.0 MB/s, 0:06 left | staging data: 500 texts of 2,000"
    ]


def test_lines_are_shown_at_once_and_as_they_are() -> None:
    lines: list[str] = []
    LineSurface(lines.append).say("[bold]x", "dim")
    assert lines == ["[bold]x"]
