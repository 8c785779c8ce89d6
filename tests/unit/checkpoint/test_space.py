"""A full disk, in words."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from launcher.checkpoint.files import PosixFiles
from launcher.checkpoint.space import check, explain
from launcher.errors import CheckpointError


class Small(PosixFiles):
    def free_bytes(self, folder: Path) -> int:
        return 5 * 2**20


def test_what_fits_is_let_through(tmp_path: Path) -> None:
    check(Small(), tmp_path, total_bytes=4 * 2**20, step=3)
    with pytest.raises(CheckpointError):
        check(Small(), tmp_path, total_bytes=4 * 2**20 + 1, step=3)


def test_what_does_not_fit_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        check(Small(), tmp_path, total_bytes=9 * 2**20, step=3)
    assert caught.value.message == (
        "disk full: the checkpoint of step 3 needs 10.5 MB, 5.2 MB is free"
    )


def test_what_other_ranks_have_written_already_is_not_counted_again(tmp_path: Path) -> None:
    (tmp_path / "s001.safetensors").write_bytes(bytes(5 * 2**20))
    check(Small(), tmp_path, total_bytes=9 * 2**20, step=3)
    with pytest.raises(CheckpointError):
        check(Small(), tmp_path, total_bytes=9 * 2**20 + 1, step=3)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk full: the checkpoint of step 3 needs 1.0 kB, 5.2 MB is free"),
        (errno.EDQUOT, "the quota is used up"),
        (errno.EIO, "the checkpoint of step 3 cannot be written"),
    ],
)
def test_errors_of_the_system_become_sentences(tmp_path: Path, code: int, words: str) -> None:
    error = explain(OSError(code, "x"), Small(), tmp_path / "data", needed=1024, step=3)
    assert words in error.message
    assert error.hint
