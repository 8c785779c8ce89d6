"""Reading what ranks wrote about themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launcher.runs.records import phase_of, read_ranks
from launcher.specs import RankRecord, RankState, RunLayout, to_json


def write(layout: RunLayout, rank: int) -> None:
    folder = layout.attempt(1).ranks
    folder.mkdir(parents=True, exist_ok=True)
    record = RankRecord(
        rank=rank,
        local_rank=0,
        node_rank=rank,
        node=f"n{rank}",
        host="here",
        pid=1,
        attempt=1,
        state=RankState.RUNNING,
        started_at=1.0,
        heartbeat_at=1.0,
        progress_at=1.0,
    )
    (folder / f"{rank:04d}.json").write_text(to_json(record))


def test_records_come_in_the_order_of_the_ranks_beyond_four_digits(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "run")
    for rank in (10_000, 9_999, 3):
        write(layout, rank)
    assert [record.rank for record in read_ranks(layout, 1)] == [3, 9_999, 10_000]


def test_a_record_that_is_not_whole_is_left_out(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "run")
    write(layout, 0)
    write(layout, 1)
    path = layout.attempt(1).ranks / "0000.json"
    path.write_text(path.read_text()[:40])
    assert [record.rank for record in read_ranks(layout, 1)] == [1]


if TYPE_CHECKING:
    RunFolder = Any


def shown(folder: RunFolder, recipe: str, **values: Any) -> str:
    folder.begin(nodes=1).rank(0, **{"phase": "start", "step": 0, **values})
    (record,) = read_ranks(folder.layout, 1)
    return phase_of(record, recipe)


@pytest.mark.parametrize("state", [RankState.RUNNING, RankState.DONE, RankState.FAILED])
def test_a_script_that_names_no_phase_is_in_its_program_once_it_runs(
    folder: RunFolder, state: RankState
) -> None:
    assert shown(folder, "script", state=RankState.STARTING) == "start"
    assert shown(folder, "script", state=state, phase_seconds={"start": 5.0}) == "program"


def test_a_recipe_starts_until_it_names_a_phase_or_takes_a_step(folder: RunFolder) -> None:
    assert shown(folder, "bert_finetune") == "start"
    assert shown(folder, "bert_finetune", step=1) == "program"


def test_phases_that_a_program_names_are_shown_as_they_are(folder: RunFolder) -> None:
    assert shown(folder, "script", phase="eval", step=3) == "eval"
