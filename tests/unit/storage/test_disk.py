"""Is it writable, is there room."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from launcher.storage import DiskProblemKind, free_bytes, is_disk_full, probe_writable
from launcher.storage.disk import classify


def test_a_writable_folder_is_left_as_it_was(tmp_path: Path) -> None:
    assert probe_writable(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_created(tmp_path: Path) -> None:
    assert probe_writable(tmp_path / "a" / "b") is None
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_in_the_way_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        problem = probe_writable(path)
        assert problem is not None
        assert problem.kind is DiskProblemKind.NOT_A_FOLDER
        assert str(path) in problem.message
        assert "storage.root=" in problem.hint


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, DiskProblemKind.NOT_FOUND),
        (errno.EACCES, DiskProblemKind.PERMISSION),
        (errno.EROFS, DiskProblemKind.READ_ONLY),
        (errno.ENOSPC, DiskProblemKind.DISK_FULL),
        (errno.EDQUOT, DiskProblemKind.DISK_FULL),
        (errno.EIO, DiskProblemKind.OTHER),
    ],
)
def test_problems_are_distinguished(number: int, kind: DiskProblemKind, tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.touch()
        raise OSError(number, os.strerror(number))

    problem = probe_writable(tmp_path, write=write)
    assert problem is not None
    assert problem.kind is kind
    assert classify(OSError(number, "")) is kind
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.process
def test_a_folder_of_another_user_is_permission_denied(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        problem = probe_writable(tmp_path)
        os._exit(7 if problem is not None and problem.kind is DiskProblemKind.PERMISSION else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0


def test_disk_full_is_recognised() -> None:
    assert is_disk_full(OSError(errno.ENOSPC, ""))
    assert not is_disk_full(OSError(errno.EIO, ""))
    assert not is_disk_full(ValueError())
