"""Which checkpoints stay, and that the others go in the right order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher.checkpoint import (
    AnyOf,
    Checkpointer,
    CommitInfo,
    CommitKey,
    KeepEvery,
    KeepLast,
    SingleProcess,
    claim_generation,
    list_commits,
    verify,
)
from launcher.checkpoint.files import PosixFiles
from launcher.checkpoint.layout import CheckpointLayout
from launcher.checkpoint.retention import decide, retain, sweep
from launcher.errors import ConfigError


def commits(*steps: int) -> list[CommitInfo]:
    return [CommitInfo(generation=1, step=step, path=Path("x")) for step in steps]


def steps(found: Sequence[CommitInfo]) -> list[int]:
    return [info.step for info in found]


def test_the_last_ones_stay() -> None:
    assert steps(decide(commits(1, 2, 3, 4), KeepLast(2))) == [1, 2]


def test_one_is_not_enough() -> None:
    with pytest.raises(ConfigError, match="2 or more"):
        KeepLast(1)


def test_policies_combine() -> None:
    policy = AnyOf((KeepLast(2), KeepEvery(10)))
    assert steps(decide(commits(5, 10, 15, 20, 25, 30, 35), policy)) == [5, 15, 25]


def test_a_policy_that_keeps_nothing_still_leaves_two() -> None:
    class Nothing:
        def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]:
            return set()

    assert steps(decide(commits(1, 2, 3), Nothing())) == [1]


def test_what_is_not_in_the_history_goes_first() -> None:
    late = CommitInfo(generation=1, step=9, path=Path("x"), superseded=True)
    assert steps(decide([*commits(1, 2), late], KeepLast(2))) == [9]


def test_damaged_records_are_left_for_people_to_look_at() -> None:
    torn = CommitInfo(generation=1, step=1, path=Path("x"), problem="torn")
    assert steps(decide([torn, *commits(2, 3, 4)], KeepLast(2))) == [2]


def test_saving_keeps_the_newest_and_removes_the_data_of_the_others(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(5, keep=2)
    assert steps(list_commits(folder)) == [4, 5]
    assert len(list((folder / "data").iterdir())) == 2
    assert verify(folder) == []


def test_the_one_resumed_from_stays_until_a_newer_one_is_committed(
    folder: Path, saved: Callable[..., dict[int, Any]], training: Any
) -> None:
    saved(4, keep=4)
    program = training()
    with Checkpointer(folder, group=SingleProcess(), keep=2) as ck:
        ck.restore(program.state, resume="1")
        assert steps(list_commits(folder)) == [1, 2, 3, 4]
        program.step()
        ck.save(program.state)
    assert [(info.generation, info.step) for info in list_commits(folder)] == [(1, 1), (2, 2)]


def test_the_record_goes_before_the_data(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(3, keep=3)
    order: list[str] = []

    class Watched(PosixFiles):
        def remove(self, path: Path) -> None:
            order.append(f"remove {path.name}")
            super().remove(path)

        def sync_folder(self, path: Path) -> None:
            order.append(f"sync {path.name}")
            super().sync_folder(path)

        def remove_folder(self, path: Path) -> None:
            order.append(f"remove folder {path.name[:15]}")
            super().remove_folder(path)

    retain(Watched(), CheckpointLayout(folder), KeepLast(2), newest=CommitKey(1, 3))
    assert order == [
        "remove 000001-00000001.json",
        "sync commits",
        "remove folder 000001-00000001",
    ]


def test_a_stale_attempt_removes_nothing(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(4, keep=4)
    claim_generation(folder, 2)
    layout = CheckpointLayout(folder)
    assert retain(PosixFiles(), layout, KeepLast(2), newest=CommitKey(1, 4)) == []
    assert sweep(PosixFiles(), layout, 1) == []


def test_left_overs_of_older_attempts_are_swept_and_those_of_this_one_are_not(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(1)
    claim_generation(folder, 2)
    for name in ("000001-00000007-abcd", "000002-00000008-abcd"):
        (folder / "data" / name).mkdir()
        (folder / "data" / name / "s000.safetensors").write_bytes(b"half")
    (folder / "commits" / ".000001-00000007.json.ab12.tmp").write_text("{}")
    (folder / "commits" / ".000002-00000008.json.ab12.tmp").write_text("{}")
    assert sweep(PosixFiles(), CheckpointLayout(folder), 2) == ["000001-00000007-abcd"]
    assert [path.name for path in (folder / "commits").glob(".*")] == [
        ".000002-00000008.json.ab12.tmp"
    ]
    assert verify(folder) == []


def test_data_whose_record_is_damaged_is_not_swept(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(2)
    (folder / "commits" / "000001-00000002.json").write_text("{")
    claim_generation(folder, 2)
    assert sweep(PosixFiles(), CheckpointLayout(folder), 2) == []
