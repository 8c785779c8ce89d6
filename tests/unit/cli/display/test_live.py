"""The terminal, drawn into memory."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from launcher.cli.display.live import LiveSurface
from launcher.cli.display.surface import StagingProgress
from launcher.runs import RunStatus
from launcher.runs.metrics import Pace
from tests import make


def status(nodes: int) -> RunStatus:
    values: dict[str, Any] = {
        "step": 1200,
        "total_steps": 24000,
        "loss": 0.43219,
        "samples_per_s": 152.0,
    }
    records = [make.record(rank, committed_step=1000, **values) for rank in range(nodes)]
    pace = Pace().at(1100, 0.0).at(1200, 16.338)
    return make.status(make.plan(*[1] * nodes), *records, pace=pace)


def drawn(width: int, surface_of: object) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, height=60)
    surface = LiveSurface(console)
    surface_of(surface)  # type: ignore[operator]
    surface.close()
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_is_one_line_per_node_and_one_for_all_and_fits(width: int) -> None:
    text = "\n".join(drawn(width, lambda surface: surface.training(status(4))))
    assert "local3" in text
    assert "0.4322" in text
    assert "step 1200/24000" in text
    assert "1:02:05 left" in text
    assert "152 samples/s" in text
    assert "saved at step 1000" in text
    assert "…" not in text  # nothing was cut


def test_many_nodes_do_not_push_the_lines_off_the_screen() -> None:
    text = "\n".join(drawn(80, lambda surface: surface.training(status(40))))
    assert "and 24 more" in text
    assert "local16" not in text


def test_staging_shows_a_bar_with_bytes_rate_and_time_left_and_fits() -> None:
    item = StagingProgress(name="model", uri="u", total=83_500_000, began=0.0)
    item.advance(10_000_000, 1.0)
    item.advance(20_000_000, 2.0)
    built = StagingProgress(name="data", uri="u", total=2000, began=0.0, unit="texts", done=500)
    text = "\n".join(drawn(80, lambda surface: surface.staging([item, built])))
    assert "20.0 MB of 83.5 MB" in text
    assert "10.0 MB/s" in text
    assert "0:06 left" in text
    assert "500/2,000 texts" in text
    assert "…" not in text


def test_brackets_in_what_a_program_prints_are_no_markup() -> None:
    assert drawn(80, lambda surface: surface.say("[red]loss[/red] [0]")) == [
        "[red]loss[/red] [0]",
    ]
