"""Errors for a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from launcher.checkpoint import Checkpointer, SingleProcess
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


class Broken(PosixFiles):
    def __init__(self, code: int) -> None:
        self._code = code

    def make_folder(self, path: Path) -> None:
        raise OSError(self._code, os.strerror(self._code), str(path))


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (errno.ENOSPC, "disk full", "free space"),
        (errno.EDQUOT, "the quota is used up", "free space"),
        (errno.EROFS, "read-only", "mounted read-only"),
        (errno.EACCES, "permission denied", "a folder of your own"),
        (errno.EMFILE, "too many open files", "ulimit -n"),
        (errno.ENAMETOOLONG, "the name is too long", "shorter"),
        (errno.ELOOP, "a link leads back to itself", "symbolic link"),
        (errno.EIO, "Input/output error", "check this storage"),
    ],
)
def test_a_folder_that_cannot_be_opened_is_reported_with_its_reason(
    tmp_path: Path, code: int, words: str, hint: str
) -> None:
    with pytest.raises(CheckpointError, match="the checkpoint folder cannot be used") as caught:
        Checkpointer(tmp_path / "checkpoints", group=SingleProcess(), files=Broken(code))
    assert words in caught.value.message
    assert hint in caught.value.hint
    assert ("permission" in str(caught.value)) == (code == errno.EACCES)
