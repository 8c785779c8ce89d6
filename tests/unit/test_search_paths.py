"""Search paths mean the same in every folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import search_paths

HERE = Path("/home/me/project")


@pytest.mark.parametrize("name", search_paths.NAMES)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (".", "/home/me/project"),
        ("src", "/home/me/project/src"),
        (".:src", "/home/me/project:/home/me/project/src"),
        ("..", "/home/me"),
        ("../lib", "/home/me/lib"),
        ("./a/../b/", "/home/me/project/b"),
        ("/opt/lib:rel", "/opt/lib:/home/me/project/rel"),
        (":/opt", "/home/me/project:/opt"),
        ("/opt:", "/opt:/home/me/project"),
        ("a b/é", "/home/me/project/a b/é"),
        ("~/lib", "/home/me/project/~/lib"),
        ("$ORIGIN/lib", "$ORIGIN/lib"),
    ],
)
def test_every_entry_becomes_absolute(name: str, value: str, expected: str) -> None:
    assert search_paths.absolute({name: value}, HERE) == {name: expected}


def test_an_empty_value_means_no_folder() -> None:
    assert search_paths.absolute({"PYTHONPATH": ""}, HERE) == {}


def test_a_home_folder_that_no_shell_replaced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    found = search_paths.absolute({"PYTHONPATH": "~/lib:~"}, HERE, expand_home=True)
    assert found == {"PYTHONPATH": "/home/me/lib:/home/me"}


@pytest.mark.parametrize("name", ["PATH", "HF_HOME", "XDG_CACHE_HOME", "MY_PYTHONPATH"])
def test_variables_that_are_read_when_used_stay(name: str) -> None:
    assert search_paths.absolute({name: "rel:."}, HERE) == {}
