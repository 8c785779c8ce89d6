"""What a file system does for checkpoints."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from launcher.checkpoint.checksummed import put
from launcher.checkpoint.files import PosixFiles

FILES = PosixFiles()


def test_sizes_of_a_folder_that_is_not_there_are_none(tmp_path: Path) -> None:
    assert FILES.sizes(tmp_path / "nowhere") == {}


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    FILES.make_folder(tmp_path / "a" / "b" / "c")
    FILES.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_publishing_moves_the_file_to_its_name(tmp_path: Path) -> None:
    put(FILES, tmp_path / ".x.tmp", b"content")
    FILES.publish(tmp_path / ".x.tmp", tmp_path / "x")
    assert FILES.sizes(tmp_path) == {"x": 7}


def test_publishing_over_a_name_is_refused(tmp_path: Path) -> None:
    put(FILES, tmp_path / "x", b"first")
    put(FILES, tmp_path / ".x.tmp", b"second")
    with pytest.raises(FileExistsError):
        FILES.publish(tmp_path / ".x.tmp", tmp_path / "x")
    assert FILES.read(tmp_path / "x") == b"first"


@pytest.fixture(params=["renameat2", "nothing"])
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links; the second kind has no exclusive rename either."""

    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    if request.param == "nothing":
        monkeypatch.setattr(ctypes, "CDLL", lambda *args, **options: object())


@pytest.mark.usefixtures("without_links")
def test_without_hard_links_publishing_is_still_exclusive(tmp_path: Path) -> None:
    put(FILES, tmp_path / ".x.tmp", b"first")
    FILES.publish(tmp_path / ".x.tmp", tmp_path / "x")
    put(FILES, tmp_path / ".y.tmp", b"second")
    with pytest.raises(FileExistsError):
        FILES.publish(tmp_path / ".y.tmp", tmp_path / "x")
    assert FILES.sizes(tmp_path) == {"x": 5, ".y.tmp": 6}
    assert FILES.read(tmp_path / "x") == b"first"


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    FILES.remove(tmp_path / "x")
    FILES.remove_folder(tmp_path / "folder")
    assert FILES.sizes(tmp_path) == {}


def test_reading_past_the_end_tells_how_much_there_was(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    source = FILES.open(tmp_path / "x")
    parts = [memoryview(bytearray(4)), memoryview(bytearray(20))]
    assert source.read_into(2, parts) == 8
    assert bytes(parts[0]) == b"2345"
    source.close()


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    from launcher.checkpoint.checksummed import write_record

    class Broken(PosixFiles):
        def publish(self, temporary: Path, path: Path) -> None:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        write_record(Broken(), tmp_path / "x", b"content")
    assert list(tmp_path.iterdir()) == []
