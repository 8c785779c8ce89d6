"""Which files are accepted from a source, and under which names."""

from __future__ import annotations

import pytest

from launcher.errors import StagingError
from launcher.specs import StageItem
from launcher.staging import selection
from launcher.staging.selection import check_relative, select


def item(**values: object) -> StageItem:
    return StageItem(name="model", uri="pypi://x==1", **values)  # type: ignore[arg-type]


def test_all_files_are_wanted_unless_some_are_named() -> None:
    assert select(item(), ["a", "b/c"]) == {"a": "a", "b/c": "b/c"}


def test_a_star_crosses_folders_and_strip_cuts_the_leading_one() -> None:
    wanted = item(include=("m/*",), strip="m")
    assert select(wanted, ["m/a", "m/b/c", "other/d"]) == {"m/a": "a", "m/b/c": "b/c"}


def test_strip_cuts_whole_folders_only() -> None:
    assert select(item(strip="mod"), ["model/a"]) == {"model/a": "model/a"}


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "./a",
        "",
        "a\\..\\b",
        "a\0b",
        "..",
        "a/.",
        ".launcher-manifest.json",
    ],
)
def test_a_dangerous_name_is_refused(name: str) -> None:
    with pytest.raises(StagingError):
        check_relative(name, "s3://b")
    with pytest.raises(StagingError):
        select(item(), ["fine", name])


def test_a_name_that_strip_makes_dangerous_is_refused() -> None:
    with pytest.raises(StagingError):
        select(item(strip="m"), ["m//etc/passwd"])


def test_odd_but_harmless_names_are_taken() -> None:
    names = ["a b", "ünïcode", "..a", "a..", "$(x)", "a;b", "-rf", "x\n"]
    assert list(select(item(), names)) == names


@pytest.mark.parametrize("names", [["a", "a"], ["a", "A"]])
def test_two_files_of_one_name_are_refused(names: list[str]) -> None:
    with pytest.raises(StagingError, match="twice"):
        select(item(), names)


def test_a_listing_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MAX_FILES", 3)
    with pytest.raises(StagingError, match="at most 3"):
        select(item(), ["a", "b", "c", "d"])


def test_nothing_that_matches_shows_what_there_is() -> None:
    with pytest.raises(StagingError, match="no file of") as caught:
        select(item(include=("model.safetensor",)), ["model.safetensors", "config.json"])
    assert "did you mean `model.safetensors`" in caught.value.hint
    assert "config.json" in caught.value.context


def test_a_source_without_files_is_an_error() -> None:
    with pytest.raises(StagingError, match="contains no files"):
        select(item(), [])
