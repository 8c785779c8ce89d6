"""The words of a hint arrive unchanged, through a real shell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher import config
from launcher.config.keys import all_keys, is_list_of_texts, is_text
from launcher.config.overrides import parse
from launcher.config.rewrite import as_text, rewrite, without_stray_quotes
from launcher.errors import ConfigError
from tests.shell import typed_in_bash

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


VALUES = [
    *("true", "null", "1_000", "2.10", "12e4567", "1:30", "[0,1]", '{"a": 1}', "a\\d", " a ", "~"),
    *("a=b", "it's", "(1)", "", "  ", "\n", "#", "é", "$HOME"),
]


@pytest.mark.parametrize("name", [*filter(is_text, all_keys()), "env.X", "++env.X", "+env.X"])
def test_every_key_that_holds_text_keeps_what_was_typed(name: str) -> None:
    found = [parse(rewrite([f"{name}={value}"]))[0].value() for value in VALUES]
    assert found == VALUES


@pytest.mark.parametrize("name", [*filter(is_list_of_texts, all_keys())])
def test_every_list_of_texts_keeps_what_was_typed(name: str) -> None:
    values = [value for value in VALUES if value.strip()]
    (found,) = parse(rewrite([f"{name}=[{','.join(values)}]"]))
    assert found.value() == [value.strip() for value in values]


def test_variables_given_together_keep_what_was_typed(tmp_path: Path) -> None:
    words = ["recipe=script", "script=x.py", '++env={A:1e-4, B: "a,b",C:[0,1]}', "env.D=yes"]
    found = config.load(words, cwd=tmp_path)
    assert found.env == {"A": "1e-4", "B": "a,b", "C": "[0,1]", "D": "yes"}


def test_numbers_and_your_own_values_keep_their_types(tmp_path: Path) -> None:
    words = ["recipe=script", "script=x.py", "train.lr=1e-4", "params.a=1_000", "params.b=[1,true]"]
    found = config.load(words, cwd=tmp_path)
    assert (found.train.lr, found.params) == (1e-4, {"a": 1000, "b": [1, True]})


@pytest.mark.process
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("args=[--x,[0,1]", ("--x", "[0,1]")),
        ("args=[a]b]", ("a]b",)),
        ("args=['tis,b]", ("tis", "b")),
        ("args=[:-)]", (":-)",)),
        ("args=[a,,b]", ("a", "", "b")),
        ("args=[--fmt=${x}]", ("--fmt=${x}",)),
        ("args=[--fmt=${HOME:-x}]", ("--fmt=${HOME:-x}",)),
        ("args=['${x}', \"${y}\"]", ("${x}", "${y}")),
    ],
)
def test_the_word_that_a_refusal_of_a_list_shows_works(
    tmp_path: Path, typed: str, meant: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(["recipe=script", "script=x.py", typed], cwd=tmp_path)
    offered = re.search(r"(?:for example: |write )(.*?)(?: if this .*)?$", caught.value.hint)
    assert offered is not None, caught.value.hint
    words = typed_in_bash(offered[1])
    assert config.load(["recipe=script", "script=x.py", *words], cwd=tmp_path).args == meant


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("args=[a,???]", "`???` marks a missing value and cannot be text"),
        ("env.X=${x", "contains `${`, but no complete reference"),
        ("args=(a,b)", "expected a list in brackets"),
        ("env.X=1,2", "names several values"),
        ("env.X=range(1,2)", "names several values"),
    ],
)
def test_what_cannot_be_text_is_refused_by_name(tmp_path: Path, typed: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        config.load(["recipe=script", "script=x.py", typed], cwd=tmp_path)
