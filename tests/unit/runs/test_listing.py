from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.errors import ConfigError, UnknownNameError
from launcher.runs import find, latest, list_runs, records


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
    assert latest(root).run_id == "new"


def test_a_run_is_found_by_name_by_folder_and_as_the_latest(root: Path) -> None:
    assert find(root, "old").run_id == "old"
    assert find(root, str(root / "runs" / "middle")).run_id == "middle"
    assert find(root, "latest").run_id == find(root, "").run_id == "new"


def test_an_unknown_run_offers_the_nearest(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean `middle`"):
        find(root, "midle")


def test_without_any_run_the_latest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run yet"):
        latest(tmp_path)


def test_a_copied_folder_beside_the_attempts_is_none(root: Path) -> None:
    attempts = latest(root).attempts
    for name in ("0002", "0001", "0001.bak", "2old"):
        (attempts / name).mkdir()
    assert records.attempts(latest(root)) == (1, 2)
