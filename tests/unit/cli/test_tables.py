"""Commands that end with a table, in a pipe: a row is one line, whatever is in it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher import checkpoint, launch, units
from launcher.checkpoint.commits import CommitInfo
from launcher.cli import multirun
from launcher.errors import TrainingError
from launcher.nodes.bandwidth import Connection, Connections
from launcher.nodes.table import Cell, HealthRow, HealthTable, Mark

LONG = "node-" + "0123456789" * 12


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def test_checkpoints_are_listed_with_what_is_wrong_with_them(
    types: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("r")
    at, path = 1_700_000_000.0, Path("commit.json")
    good = CommitInfo(
        generation=1, step=20, path=path, world_size=4, size_bytes=83_500_000, created_at=at
    )
    bad = CommitInfo(generation=2, step=1400, path=path, created_at=at, problem=f"{LONG} is gone")
    monkeypatch.setattr(checkpoint, "list_commits", lambda folder: [good, bad])
    when = units.moment(at)
    assert types("checkpoints", "ls", "r").out.splitlines() == [
        "step  attempt  written              ranks     size",
        f"  20        1  {when}      4  83.5 MB",
        f"1400        2  {when}      0      0 B  {LONG} is gone",
    ]


def test_doctor_shows_nodes_and_pairs_and_explains_the_bad_ones(
    types: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Cell(text="2.12", mark=Mark.BAD, what="torch 2.12, most have 2.13", hint="share one")
    rows = (
        HealthRow(node=LONG, cells={"torch": old}),
        HealthRow(node="b", cells={"gpus": Cell(text="none")}),
    )
    measured = Connections(
        connections=(
            Connection(one=LONG, other="b", latency_s=0.00008, bytes_per_s=527e6),
            Connection(one="b", other="c", problem="timed out"),
        )
    )
    found = SimpleNamespace(
        report=SimpleNamespace(table=HealthTable(rows=rows)),
        connections=measured,
        notes=(),
        bad_nodes=(LONG,),
        exclude=LONG,
    )
    monkeypatch.setattr(launch, "doctor", lambda chosen, tell: found)
    said = types("doctor")
    assert said.code == 3
    wide = len(LONG)
    assert said.out.splitlines()[:10] == [
        f"{'node':<{wide}}  torch   gpus",
        f"{LONG}  ! 2.12  -",
        f"{'b':<{wide}}  -       none",
        f"{LONG}: torch 2.12, most have 2.13",
        "  -> share one",
        "",
        f"{'pair':<{wide + 4}}  bandwidth     latency",
        f"{LONG} - b  527 MB/s      0.08 ms",
        f"{'! b - c':<{wide + 4}}  not measured",
        "b - c: not measured: timed out",
    ]


def test_a_sweep_ends_with_a_row_for_every_run(types: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(chosen: Any, commands: Any, *, repeat: str) -> Any:
        raise TrainingError(f"rank 0 failed: {LONG}", hint="")

    monkeypatch.setattr(multirun, "run", fails)
    said = types("run", "-m", "recipe=script", "script=train.py", "nodes=1,2", "run_id=r")
    assert said.code == TrainingError.exit_code
    assert said.out.splitlines()[-3:] == [
        "         exit  run  result",
        f"nodes=1     5  -    rank 0 failed: {LONG}",
        f"nodes=2     5  -    rank 0 failed: {LONG}",
    ]
