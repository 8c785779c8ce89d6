"""Which commits count, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from launcher.checkpoint import list_commits
from launcher.checkpoint.commits import CommitInfo, history, in_order, newest_commit
from launcher.checkpoint.layout import CommitKey, GenerationRecord


def commit(
    generation: int, step: int, base: CommitKey | None = None, problem: str = ""
) -> CommitInfo:
    return CommitInfo(generation=generation, step=step, path=Path("x"), base=base, problem=problem)


def claim(generation: int, base: CommitKey | None) -> GenerationRecord:
    return GenerationRecord(generation=generation, token="t", base=base, created_at=0.0)


def keys(found: list[CommitInfo]) -> list[tuple[int, int]]:
    return [(info.generation, info.step) for info in found]


def test_the_newest_generation_comes_before_a_higher_step_of_an_older_one() -> None:
    base = CommitKey(1, 10)
    commits = [commit(1, 10), commit(1, 20), commit(2, 15, base)]
    claims = {1: claim(1, None), 2: claim(2, base)}
    assert keys(history(commits, claims)) == [(2, 15), (1, 10)]


def test_a_generation_without_a_commit_goes_on_from_the_base_it_recorded() -> None:
    """The older attempt was still alive and committed step 30 after the newer one had claimed."""
    commits = [commit(1, 10), commit(1, 20), commit(1, 30)]
    claims = {1: claim(1, None), 2: claim(2, CommitKey(1, 20))}
    assert keys(history(commits, claims)) == [(1, 20), (1, 10)]


def test_generations_that_never_committed_are_passed_through() -> None:
    commits = [commit(1, 10)]
    claims = {number: claim(number, CommitKey(1, 10)) for number in (2, 3, 4)}
    assert keys(history(commits, claims)) == [(1, 10)]


def test_a_run_started_over_does_not_fall_back_to_what_it_left_behind() -> None:
    commits = [commit(1, 100), commit(2, 5, None)]
    claims = {1: claim(1, None), 2: claim(2, CommitKey(1, 100))}
    assert keys(history(commits, claims)) == [(2, 5)]


def test_an_early_late_commit_is_better_than_step_0() -> None:
    """Generation 2 claimed when there was nothing; generation 1 then still committed its first."""
    claims = {1: claim(1, None), 2: claim(2, None)}
    assert keys(history([commit(1, 10)], claims)) == [(1, 10)]


def test_an_unreadable_claim_hides_nothing() -> None:
    assert keys(history([commit(1, 10), commit(1, 20)], {1: None, 2: None})) == [(1, 20), (1, 10)]


def test_a_damaged_record_stays_in_the_order_but_is_not_the_newest() -> None:
    commits = [commit(1, 10), commit(1, 20, problem="torn")]
    assert keys(in_order(commits)) == [(1, 20), (1, 10)]
    best = newest_commit(commits)
    assert best is not None
    assert best.step == 10


def test_a_folder_that_does_not_exist_has_no_commits(tmp_path: Path) -> None:
    assert list_commits(tmp_path / "nowhere") == []


def test_listing_tells_what_people_want_to_know(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(2)
    first, second = list_commits(folder)
    assert (first.step, second.step, second.generation) == (1, 2, 1)
    assert (second.world_size, second.engine, second.problem) == (1, "single", "")
    assert second.data is not None
    assert second.size_bytes == (second.data / "s000.safetensors").stat().st_size


def test_a_damaged_record_is_listed_with_its_problem(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(2)
    path = folder / "commits" / "000001-00000002.json"
    path.write_bytes(path.read_bytes()[:100])
    assert "checksum" in list_commits(folder)[1].problem


def test_other_files_in_the_folder_are_not_commits(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(1)
    (folder / "commits" / ".000001-00000009.json.abc.tmp").write_text("{}")
    (folder / "commits" / "notes.txt").write_text("mine")
    assert [info.step for info in list_commits(folder)] == [1]
