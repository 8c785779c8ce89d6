"""What lies at a URI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from launcher.storage import filesystem, list_source
from launcher.storage.remote import UnknownScheme


def test_a_folder_lists_its_files_below_it(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_text("22", encoding="utf-8")
    (tmp_path / "one.txt").write_text("1", encoding="utf-8")
    source = list_source(str(tmp_path))
    assert not source.single
    assert [(f.relative, f.size_bytes) for f in source.files] == [("b/two.txt", 2), ("one.txt", 1)]


def test_a_file_is_its_own_listing(tmp_path: Path) -> None:
    (tmp_path / "one file.txt").write_text("1", encoding="utf-8")
    source = list_source(f"file://{tmp_path}/one%20file.txt")
    assert source.single
    assert [f.relative for f in source.files] == ["one file.txt"]


def test_a_file_that_was_written_again_has_another_version(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("1", encoding="utf-8")
    before = list_source(str(file)).files[0].version
    file.write_text("2", encoding="utf-8")
    os.utime(file, ns=(1, 1))
    assert list_source(str(file)).files[0].version != before


def test_links_to_files_are_files_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "blob").write_text("blob", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path / "blob")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to("nowhere")
    assert [f.relative for f in list_source(str(folder)).files] == ["link"]


def test_a_device_is_not_a_file() -> None:
    with pytest.raises(FileNotFoundError, match="neither"):
        list_source("/dev/null")


def test_a_bucket_is_listed_like_a_folder() -> None:
    known = fsspec.filesystem("memory")
    known.pipe_file("/test-remote/a/x.bin", b"xx")
    known.pipe_file("/test-remote/a/b/y.bin", b"y")
    source = list_source("memory://test-remote/a")
    assert [f.relative for f in source.files] == ["b/y.bin", "x.bin"]


def test_a_web_file_is_named_without_its_query(web: Any) -> None:
    (file,) = list_source(f"{web.url}?token=x").files
    assert (file.relative, file.size_bytes, file.version) == ("file.bin", 4 << 20, "v1")


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list_source(str(tmp_path / "nothing"))


def test_an_unknown_scheme_offers_the_nearest() -> None:
    with pytest.raises(UnknownScheme, match="nobody knows") as caught:
        filesystem("s33://bucket")
    assert "did you mean `s3://`" in caught.value.hint


def test_a_scheme_without_its_package_names_the_package() -> None:
    with pytest.raises(UnknownScheme, match="not installed") as caught:
        filesystem("gs://bucket")
    assert "gcsfs" in caught.value.hint
