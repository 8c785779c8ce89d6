"""What arrived, and whether it is still there."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.storage import SnapshotManifest, read_manifest
from launcher.storage.manifest import (
    MANIFEST_NAME,
    check_digests,
    check_sizes,
    describe,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.bin").write_bytes(b"aaaa")
    (tmp_path / "deep" / "b.bin").write_bytes(b"bb")
    files = describe(tmp_path, {"a.bin": "ab" * 32})
    write_manifest(tmp_path, SnapshotManifest(name="x", key="k", uri="/x", at=1.0, files=files))
    return tmp_path


def manifest_of(folder: Path) -> SnapshotManifest:
    found = read_manifest(folder)
    assert found is not None
    return found


def test_a_manifest_lists_every_file_but_itself(folder: Path) -> None:
    manifest = manifest_of(folder)
    assert [entry.path for entry in manifest.files] == ["a.bin", "deep/b.bin"]
    assert manifest.size_bytes == 6
    assert manifest.files[0].sha256 == "ab" * 32
    assert check_digests(folder, manifest) == ()


def test_a_missing_file_is_found_by_names_alone(folder: Path) -> None:
    (folder / "a.bin").unlink()
    assert check_sizes(folder, manifest_of(folder)) == ("`a.bin` is missing",)


def test_another_size_is_found_by_sizes_alone(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"aaaaa")
    assert check_sizes(folder, manifest_of(folder)) == ("`a.bin`: expected 4 bytes, got 5",)


def test_a_flipped_bit_is_found_by_digests_only(folder: Path) -> None:
    (folder / "deep" / "b.bin").write_bytes(b"bc")
    assert check_sizes(folder, manifest_of(folder)) == ()
    (problem,) = check_digests(folder, manifest_of(folder))
    assert "deep/b.bin" in problem


def test_a_link_in_place_of_a_file_is_found(folder: Path) -> None:
    (folder / "a.bin").rename(folder / "moved")
    (folder / "a.bin").symlink_to("moved")
    assert check_sizes(folder, manifest_of(folder)) == ("`a.bin` is no longer a file",)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}'])
def test_a_manifest_that_cannot_be_read_is_none(text: str, folder: Path) -> None:
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    assert read_manifest(folder) is None
