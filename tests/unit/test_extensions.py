"""Rows of our own and of installed packages."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.errors import ConfigError, UnknownNameError
from launcher.extensions import Table, load


@dataclass(frozen=True, kw_only=True)
class Colour:
    name: str


@pytest.fixture
def table() -> Table[Colour]:
    return Table("colour", [Colour(name="red"), Colour(name="blue")], row_type=Colour)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str, code: str = "") -> None:
    """Put a package with these entry points of the group `launcher.colours` on the path."""
    package = "paint"
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[launcher.colours]\n{points}\n")
    (folder / f"{package}.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, package, raising=False)


def test_a_built_in_row_is_found_by_its_name(table: Table[Colour]) -> None:
    assert table["red"] == Colour(name="red")
    assert table.names() == ("blue", "red")


def test_an_unknown_name_is_refused_with_the_nearest_one(table: Table[Colour]) -> None:
    with pytest.raises(UnknownNameError, match="unknown colour `bleu`") as caught:
        table["bleu"]
    assert "did you mean `blue`?" in caught.value.hint


def test_a_row_of_an_installed_package_is_found_and_listed(
    table: Table[Colour], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "green = paint:ROW", "ROW = None")
    monkeypatch.setattr("paint.ROW", Colour(name="green"))
    assert table["green"] == Colour(name="green")
    assert table.names() == ("blue", "green", "red")


def test_a_package_that_fails_to_import_is_named(
    table: Table[Colour], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "green = paint:ROW", "raise RuntimeError('no licence')")
    with pytest.raises(ConfigError, match="cannot load colour `green` of the package `paint`") as e:
        table["green"]
    assert "no licence" in e.value.context


@pytest.mark.parametrize("code", ["ROW = 1", "class ROW: name = 'green'"])
def test_an_object_that_is_not_such_a_row_is_refused(
    table: Table[Colour], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    install(tmp_path, monkeypatch, "green = paint:ROW", code)
    with pytest.raises(ConfigError, match="invalid colour `green`"):
        table["green"]


def test_a_package_that_takes_the_name_of_a_built_in_row_is_refused_by_name(
    table: Table[Colour], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "red = paint:ROW")
    with pytest.raises(ConfigError, match="two packages provide colour `red`") as caught:
        table.names()
    assert "`paint`" in caught.value.context


def test_an_import_path_names_a_module_or_an_object_in_it() -> None:
    assert load("os.path") is __import__("os").path
    assert load("pathlib:Path") is Path


def test_a_table_may_name_its_own_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "green = paint:ROW", "ROW = None")
    monkeypatch.setattr("paint.ROW", Colour(name="green"))
    paints: Table[Colour] = Table("paint", [], row_type=Colour, group="launcher.colours")
    assert "green" in paints
    assert "red" not in paints


def test_a_name_that_its_module_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="the module has no `Pth`"):
        load("pathlib:Pth")
