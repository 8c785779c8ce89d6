"""What an error of the disk means, and the free space."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from launcher.disk import DiskProblem, free_bytes, is_disk_full


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOENT, "cannot use `/data`: not found"),
        (errno.ENOTDIR, "cannot use `/data`: not a folder"),
        (errno.EEXIST, "cannot use `/data`: not a folder"),
        (errno.EACCES, "cannot use `/data`: permission denied"),
        (errno.EPERM, "cannot use `/data`: permission denied"),
        (errno.EROFS, "cannot write to `/data`: read-only"),
        (errno.ENOSPC, "cannot write to `/data`: disk full"),
        (errno.EDQUOT, "cannot write to `/data`: disk full: the quota is used up"),
        (errno.EFBIG, "cannot write to `/data`: disk full: a limit on file sizes is hit"),
        (errno.EMFILE, "cannot use `/data`: too many open files"),
        (errno.ENFILE, "cannot use `/data`: too many open files"),
        (errno.ENAMETOOLONG, "cannot use `/data`: the name is too long"),
        (errno.ELOOP, "cannot use `/data`: a link leads back to itself"),
        (errno.EIO, "cannot use `/data`: [Errno 5] Input/output error: '/data'"),
        (errno.ESTALE, "cannot use `/data`: [Errno 116] Stale file handle: '/data'"),
    ],
)
def test_problems_are_distinguished(number: int, message: str) -> None:
    problem = DiskProblem.of(OSError(number, os.strerror(number), "/data"), Path("/data"))
    assert problem.message == message
    assert problem.hint
    assert is_disk_full(OSError(number, "")) == ("disk full" in message)


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_another_error_is_not_a_full_disk() -> None:
    assert not is_disk_full(ValueError())
