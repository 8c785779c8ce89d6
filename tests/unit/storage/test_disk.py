"""Is it writable, is there room."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from launcher.storage import DiskProblem, DiskProblemKind, free_bytes, is_disk_full
from launcher.storage.disk import classify


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, DiskProblemKind.NOT_FOUND),
        (errno.ENOTDIR, DiskProblemKind.NOT_A_FOLDER),
        (errno.EEXIST, DiskProblemKind.NOT_A_FOLDER),
        (errno.EACCES, DiskProblemKind.PERMISSION),
        (errno.EROFS, DiskProblemKind.READ_ONLY),
        (errno.ENOSPC, DiskProblemKind.DISK_FULL),
        (errno.EDQUOT, DiskProblemKind.DISK_FULL),
        (errno.EIO, DiskProblemKind.OTHER),
    ],
)
def test_problems_are_distinguished(number: int, kind: DiskProblemKind) -> None:
    assert classify(OSError(number, "")) is kind
    problem = DiskProblem(kind=kind, path=Path("/data"), detail="")
    assert problem.message == f"cannot write to `/data`: {kind}"
    assert "storage.root=" in problem.hint


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_disk_full_is_recognised() -> None:
    assert is_disk_full(OSError(errno.ENOSPC, ""))
    assert not is_disk_full(OSError(errno.EIO, ""))
    assert not is_disk_full(ValueError())
