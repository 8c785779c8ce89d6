"""Unpacking untrusted archives."""

from __future__ import annotations

import stat
import threading
import zipfile
from pathlib import Path

import pytest

from launcher.errors import StagingError
from launcher.specs import StageItem
from launcher.staging.archive import unpack
from launcher.staging.fetcher import Workspace
from launcher.staging.progress import NoProgress, OneAtATime
from launcher.storage import Stopped


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "files").mkdir()
    return Workspace(
        item=StageItem(name="model", uri="pypi://x==1"),
        files=tmp_path / "files",
        scratch=tmp_path / "scratch",
        stop=threading.Event(),
        progress=OneAtATime(NoProgress()),
    )


def archive(tmp_path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            opened.writestr(info, content)
    return path


def test_files_arrive_without_the_modes_of_the_archive(
    tmp_path: Path, workspace: Workspace
) -> None:
    unpack(archive(tmp_path, {"a/b": b"1"}, mode=stat.S_IFREG | 0o4777), workspace)
    file = workspace.files / "a" / "b"
    assert file.read_bytes() == b"1"
    assert not file.stat().st_mode & (stat.S_ISUID | 0o111)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(kind: int, tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(StagingError, match="link or a device"):
        unpack(archive(tmp_path, {"x": b"/etc/passwd"}, mode=kind | 0o777), workspace)
    assert list(workspace.files.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil"])
def test_names_that_leave_the_folder_are_refused(
    name: str, tmp_path: Path, workspace: Workspace
) -> None:
    with pytest.raises(StagingError):
        unpack(archive(tmp_path, {"fine": b"", name: b"evil"}), workspace)
    assert list(workspace.files.iterdir()) == []
    assert not list(tmp_path.rglob("*evil*"))


def test_more_than_there_is_room_for_is_refused_before_a_byte_is_written(
    tmp_path: Path, workspace: Workspace
) -> None:
    path = archive(tmp_path, {"bomb": b"\0" * 5000})
    claim(path, b"bomb", size=1 << 62)
    with pytest.raises(StagingError):
        unpack(path, workspace)
    assert list(workspace.files.iterdir()) == []


def claim(path: Path, name: bytes, *, size: int) -> None:
    """Have the central directory say 4 GB for the member `name`."""
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = min(size, 0xFFFFFFF0).to_bytes(4, "little")
    assert name in content
    path.write_bytes(content)


def test_a_duplicate_name_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = archive(tmp_path, {"a": b"1"})
    with zipfile.ZipFile(path, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("a", b"2")
    with pytest.raises(StagingError, match="twice"):
        unpack(path, workspace)


def test_a_damaged_archive_is_a_sentence(tmp_path: Path, workspace: Workspace) -> None:
    path = archive(tmp_path, {"a": bytes(range(256)) * 100})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(StagingError, match="cannot be unpacked"):
        unpack(path, workspace)


def test_what_is_no_archive_is_a_sentence(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "x.whl").write_bytes(b"<html>")
    with pytest.raises(StagingError, match="cannot be unpacked"):
        unpack(tmp_path / "x.whl", workspace)


def test_unpacking_stops_when_asked(tmp_path: Path, workspace: Workspace) -> None:
    workspace.stop.set()
    with pytest.raises(Stopped):
        unpack(archive(tmp_path, {"a": b"1"}), workspace)
