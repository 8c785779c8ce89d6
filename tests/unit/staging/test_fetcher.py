"""Which fetcher a scheme has: ours, fsspec's, or that of an installed package."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.staging.fetcher import FETCHERS, fetcher_for
from launcher.staging.filesystem import FilesystemFetcher
from launcher.staging.hub import HubFetcher

CODE = """
from launcher.staging.fetcher import FetcherRow
class Fetcher: pass
TAPE = FetcherRow(name="tape", factory="tapes:Fetcher")
S3 = FetcherRow(name="s3", factory="tapes:Fetcher")
"""


@pytest.fixture
def tapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that declares fetchers for `tape://` and for `s3://`."""
    info = tmp_path / "tapes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tapes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[launcher.fetchers]\ntape = tapes:TAPE\ns3 = tapes:S3\nbad = tapes:MISSING\n"
    )
    (tmp_path / "tapes.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tapes", raising=False)


def test_every_built_in_row_loads() -> None:
    for scheme in FETCHERS.built_in:
        assert fetcher_for(f"{scheme}://x")


@pytest.mark.usefixtures("tapes")
def test_an_installed_package_adds_a_scheme() -> None:
    assert type(fetcher_for("tape://reel/1")).__module__ == "tapes"


@pytest.mark.usefixtures("tapes")
def test_an_installed_package_cannot_change_a_scheme_that_fsspec_knows() -> None:
    assert isinstance(fetcher_for("s3://bucket/x"), FilesystemFetcher)


@pytest.mark.usefixtures("tapes")
def test_a_row_that_cannot_be_loaded_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot load fetcher `bad` of the package `tapes`"):
        fetcher_for("bad://x")


@pytest.mark.parametrize("uri", ["/data/x", "file:///data/x", "https://host/x", "s3://b/x"])
def test_installed_packages_are_not_searched_for_a_known_scheme(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[str] = []

    def search(group: str) -> tuple[EntryPoint, ...]:
        searches.append(group)
        return ()

    monkeypatch.setattr("importlib.metadata.entry_points", search)
    assert isinstance(fetcher_for(uri), FilesystemFetcher)
    assert isinstance(fetcher_for("hf://org/model"), HubFetcher)
    assert searches == []
    assert isinstance(fetcher_for("tape://reel/1"), FilesystemFetcher)
    assert searches == ["launcher.fetchers"]
