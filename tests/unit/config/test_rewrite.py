"""The words of a hint arrive unchanged, through a real shell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import config
from launcher.config.rewrite import as_text, without_stray_quotes
from launcher.errors import ConfigError

NAMES = [
    "{x}.py",
    "a,b.py",
    "[x].py",
    "it's.py",
    'say "hi".py',
    "a'b\"c,.py",
    "'quoted'.py",
    '"quoted".py',
    "a b,c.py",
    "$HOME,`id`.py",
    "back\\slash,.py",
    "ends in backslash,\\",
    "a\\'b\\\",.py",
    "wow!,.py",
]


def typed_in_bash(words: str) -> list[str]:
    """Return the arguments that a program gets from a line of bash."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not there")
    show = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
    line = f'"$1" "$2" "$3" {words}'
    done = subprocess.run(
        ["bash", "-c", line, "bash", *show], capture_output=True, text=True, check=True, timeout=60
    )
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_name_arrives_as_it_is_through_bash(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    words = typed_in_bash(as_text("script", name))
    found = config.load(["recipe=script", *words], cwd=tmp_path)
    assert found.recipe.program == str(tmp_path / name)


@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_name_typed_without_quotes_arrives_or_the_hint_works(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    if "," not in name and name[0] not in "'\"":
        typed = ["recipe=script", f"script={name}"]
        assert config.load(typed, cwd=tmp_path).recipe.program == str(tmp_path / name)
        return
    with pytest.raises(ConfigError) as caught:
        config.load(["recipe=script", f"script={name}"], cwd=tmp_path)
    offered = re.search(r"(?:shell: |for one string, write )(.*)$", caught.value.hint, re.DOTALL)
    assert offered is not None, caught.value.hint
    found = config.load(["recipe=script", *typed_in_bash(offered[1])], cwd=tmp_path)
    assert found.recipe.program == str(tmp_path / name)


def test_only_a_key_that_takes_a_list_is_offered_one() -> None:
    for typed, offers in (
        ("script='x'.py", """'script="'"'"'x'"'"'.py"'"""),
        ("script=a,b.py", """'script="a,b.py"'"""),
    ):
        with pytest.raises(ConfigError) as caught:
            config.load(["recipe=script", typed])
        assert caught.value.hint.endswith(offers)
        assert "list" not in caught.value.hint
        assert "bracket" not in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("'open", "open"), ('open"', "open"), ("'both'", "both"), ("it's", "it's"), ("'", "")],
)
def test_quotes_that_are_part_of_a_name_stay(typed: str, meant: str) -> None:
    assert without_stray_quotes(typed) == meant
