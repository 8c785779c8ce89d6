"""Places as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.storage import is_local, local_path, local_root, scheme_of


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
