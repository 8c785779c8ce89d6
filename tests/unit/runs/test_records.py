"""Finding runs and attempts, and reading their records."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import ConfigError, UnknownNameError
from launcher.runs import attempts, find, list_runs
from launcher.runs.records import phase_of, read_ranks
from launcher.specs import RankState, RunLayout, to_json
from tests import make
from tests.run_folder import RunFolder


def write(layout: RunLayout, rank: int) -> None:
    folder = layout.attempt(1).ranks
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{rank:04d}.json").write_text(to_json(make.record(rank)))


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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for age, name in enumerate(("new", "middle", "old")):
        folder = tmp_path / "runs" / name
        (folder / "attempts").mkdir(parents=True)
        when = 1_700_000_000 - age * 100
        for path in (folder / "attempts", folder):
            os.utime(path, (when, when))
    return tmp_path


def test_runs_are_listed_oldest_first(root: Path) -> None:
    assert [layout.run_id for layout in list_runs(root)] == ["old", "middle", "new"]


def test_a_run_is_found_by_name_by_folder_and_as_the_latest(root: Path) -> None:
    assert find(root, "old").run_id == "old"
    assert find(root, str(root / "runs" / "middle")).run_id == "middle"
    assert find(root, "latest").run_id == find(root, "").run_id == "new"


def test_an_unknown_run_offers_the_nearest(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean `middle`"):
        find(root, "midle")


def test_without_any_run_the_latest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found no run"):
        find(tmp_path, "")


def test_a_copied_folder_beside_the_attempts_does_not_count(root: Path) -> None:
    folder = find(root, "").attempts
    for name in ("0002", "0001", "0001.bak", "2old"):
        (folder / name).mkdir()
    assert attempts(find(root, "")) == (1, 2)
