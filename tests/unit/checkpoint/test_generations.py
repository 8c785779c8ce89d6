"""Claims that protect a run from an older attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.checkpoint import (
    Checkpointer,
    GenerationTaken,
    SingleProcess,
    claim_generation,
    list_commits,
    next_generation,
)
from launcher.checkpoint.files import PosixFiles
from launcher.checkpoint.generations import read_generation
from launcher.checkpoint.layout import CheckpointLayout, CommitKey
from launcher.errors import CheckpointError


def test_numbers_go_up_by_one(folder: Path) -> None:
    assert next_generation(folder) == 1
    claim_generation(folder, 1)
    assert next_generation(folder) == 2


def test_a_number_is_given_once(folder: Path) -> None:
    claim_generation(folder, 1)
    with pytest.raises(GenerationTaken, match="newest one claimed is 1"):
        claim_generation(folder, 1)


def test_a_number_below_the_newest_is_refused(folder: Path) -> None:
    claim_generation(folder, 4)
    with pytest.raises(GenerationTaken) as caught:
        claim_generation(folder, 3)
    assert "claim generation 5" in caught.value.hint


def test_of_many_at_the_same_time_one_wins(folder: Path) -> None:
    won, lost = [], []

    def claim() -> None:
        try:
            claim_generation(folder, 1)
            won.append(1)
        except GenerationTaken:
            lost.append(1)

    threads = [threading.Thread(target=claim) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 11)


def test_a_claim_records_the_newest_commit_of_that_moment(
    folder: Path, saved: Callable[..., dict[int, Any]]
) -> None:
    saved(2)
    claim_generation(folder, 2, info={"host": "a"})
    claim = read_generation(PosixFiles(), CheckpointLayout(folder), 2)
    assert claim.base == CommitKey(1, 2)
    assert claim.info == {"host": "a"}


def test_a_stale_attempt_cannot_publish_over_a_newer_one(folder: Path, training: Any) -> None:
    program = training()
    zombie = Checkpointer(folder, group=SingleProcess(), generation=1)
    zombie.restore(program.state)
    program.step()
    zombie.save(program.state)
    zombie.wait()
    claim_generation(folder, 2)
    program.step()
    zombie.save(program.state)
    with pytest.raises(CheckpointError, match="generation 2 was claimed, this is generation 1"):
        zombie.wait()
    zombie.close()
    assert [info.step for info in list_commits(folder)] == [1]
    assert len(list((folder / "data").iterdir())) == 1


def test_a_commit_that_slips_in_late_is_not_chosen(folder: Path, training: Any) -> None:
    """The old attempt reads the generations before the new one claims, and publishes after."""
    program = training()

    class Blind(PosixFiles):
        """Does not see new claims, like a process stopped between its check and its commit."""

        def sizes(self, at: Path) -> dict[str, int]:
            found = super().sizes(at)
            return {k: v for k, v in found.items() if k != "000002.json"}

    zombie = Checkpointer(folder, group=SingleProcess(), generation=1, files=Blind())
    zombie.restore(program.state)
    program.step()
    zombie.save(program.state)
    zombie.wait()
    claim_generation(folder, 2)
    program.step()
    zombie.save(program.state)
    zombie.close()
    assert [(info.step, info.superseded) for info in list_commits(folder)] == [
        (1, False),
        (2, True),
    ]
    found = Checkpointer(folder, group=SingleProcess(), generation=2).restore(training().state)
    assert found is not None
    assert found.step == 1


def test_a_damaged_claim_is_an_error_that_says_what_to_do(folder: Path) -> None:
    claim_generation(folder, 1)
    (folder / "generations" / "000001.json").write_text("{")
    with pytest.raises(CheckpointError, match="claim of generation 1 cannot be read"):
        Checkpointer(folder, group=SingleProcess(), generation=1)
