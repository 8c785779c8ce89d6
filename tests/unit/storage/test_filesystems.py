"""What lies at a URI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from launcher.errors import ConfigError
from launcher.storage import filesystem, is_local, list_source, local_path, local_root, scheme_of
from launcher.storage.filesystems import UnknownScheme


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
    with pytest.raises(UnknownScheme, match="unknown scheme") as caught:
        filesystem("s33://bucket")
    assert "did you mean `s3://`" in caught.value.hint


def test_a_scheme_without_its_package_names_the_package() -> None:
    with pytest.raises(UnknownScheme, match="not installed") as caught:
        filesystem("gs://bucket")
    assert "gcsfs" in caught.value.hint


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [("/a/b", "file"), ("a b", "file"), ("file:///a", "file"), ("S3://b/k", "s3"), ("c:d", "file")],
)
def test_scheme(uri: str, scheme: str) -> None:
    assert scheme_of(uri) == scheme


def test_local_paths_of_all_spellings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path("x y") == tmp_path / "x y"
    assert local_path("file:///a%20b/c") == Path("/a b/c")
    assert local_path("/a%20b") == Path("/a%20b")
    assert local_path("file://localhost/a") == Path("/a")
    assert local_path("local:///a") == Path("/a")


def test_a_bucket_is_not_local() -> None:
    assert not is_local("s3://bucket/key")
    with pytest.raises(ValueError, match="mounted"):
        local_path("s3://bucket/key")


def test_a_storage_root_in_a_bucket_is_refused_with_what_works() -> None:
    with pytest.raises(ConfigError, match="s3://") as caught:
        local_root("s3://bucket/runs")
    assert "storage.root=" in caught.value.hint
    assert caught.value.exit_code == 2


def test_an_empty_storage_root_is_refused() -> None:
    with pytest.raises(ConfigError, match="empty"):
        local_root("  ")
