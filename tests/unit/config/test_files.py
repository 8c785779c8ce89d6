"""YAML gives plain values a type; for text keys, what is written in the file counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import config
from launcher.config.files import read
from launcher.config.keys import all_keys, is_list_of_texts, is_text
from launcher.config.schema import LaunchConfig
from launcher.errors import ConfigError

WORDS = (
    *("true", "yes", "Off", "1_000", "2.10", "1e-4", "12e4567", "0x10", "007", "0o17", "1:30"),
    *("12:00:00", "2024-01-01", "2024-01-01T00:00:00Z", ".inf", ".nan", "+1", "="),
)


def load(folder: Path, text: str) -> LaunchConfig:
    """Load a recipe of the user with these lines."""
    recipes = folder / "conf" / "recipe"
    recipes.mkdir(parents=True, exist_ok=True)
    header = "# @package _global_\nrecipe: {program: x.py}\n"
    (recipes / "mine.yaml").write_text(header + text, encoding="utf-8")
    return config.load(["recipe=mine"], cwd=folder)


def test_arguments_and_variables_keep_the_text_of_the_file(tmp_path: Path) -> None:
    args = f"args: [{', '.join(WORDS)}]\n"
    env = "env:\n" + "".join(f"  V{n}: {word}\n" for n, word in enumerate(WORDS))
    loaded = load(tmp_path, args + env + "  NO: x\n")
    assert loaded.args == WORDS
    assert loaded.env == {**{f"V{n}": word for n, word in enumerate(WORDS)}, "NO": "x"}


def test_quotes_blocks_and_comments_are_those_of_yaml(tmp_path: Path) -> None:
    text = """args: ["a\\tb", 'it''s', a b, "", "null"] # 5\nenv: {X: "#", Y: 'true'}\n"""
    loaded = load(tmp_path, text + "script: |-\n  a\n  b\n")
    assert loaded.args == ("a\tb", "it's", "a b", "", "null")
    assert (loaded.env, loaded.script) == ({"X": "#", "Y": "true"}, "a\nb")


@pytest.mark.parametrize("name", [key for key in all_keys() if is_text(key)])
@pytest.mark.parametrize("word", ["0123456", "1e10", "12:00:00", "yes"])
def test_every_key_that_holds_text_does(tmp_path: Path, name: str, word: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"{name.replace('.', ': {')}: {word}{'}' * name.count('.')}\n")
    assert read(file, omegaconf=True) == nested(name, word)
    section, _, key = name.rpartition(".")
    file.write_text(f"{key}: {word}\n")
    assert read(file, package=section, omegaconf=True) == {key: word}


@pytest.mark.parametrize("name", [key for key in all_keys() if is_list_of_texts(key)])
def test_every_list_that_holds_texts_does(tmp_path: Path, name: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"{name.replace('.', ': {')}: [1e10, no]{'}' * name.count('.')}\n")
    assert read(file, omegaconf=True) == nested(name, ["1e10", "no"])


def nested(name: str, value: object) -> object:
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def test_a_group_below_its_own_package_keeps_text_too(tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "small.yaml").write_text("source: hf://a/b\nrevision: 0123456\n")
    words = ["recipe=script", "script=x.py", "model=small"]
    assert config.load(words, cwd=tmp_path).model.revision == "0123456"


def test_all_other_keys_keep_the_types_of_yaml(tmp_path: Path) -> None:
    loaded = load(tmp_path, "params: {a: 1e-4, b: yes, c: 007}\ntrain: {lr: 1e-4}\nnodes: 2\n")
    assert loaded.params == {"a": 1e-4, "b": True, "c": 7}
    assert (loaded.train.lr, loaded.nodes) == (1e-4, 2)


def test_an_alias_is_text_only_where_text_is_expected(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "params: &all {lr: &lr 1e-4}\nargs: [--lr, *lr]\nenv: {<<: *all, X: *lr}\n"
        "train: {lr: *lr}\n",
    )
    assert (loaded.args, loaded.env) == (("--lr", "1e-4"), {"lr": "1e-4", "X": "1e-4"})
    assert (loaded.params, loaded.train.lr) == ({"lr": 1e-4}, 1e-4)


@pytest.mark.parametrize(
    ("text", "says", "offers"),
    [
        ("args: [--k, [0, 1]]", "`args[1]`: expected text, got a list", "quote it: '[0, 1]'"),
        ("args: [{a: 'b'}]", "`args[0]`: expected text, got names and", "quote it: '{a: ''b''}'"),
        ("args:\n- - 1", "`args[0]`: expected text, got a list", "as one line, in quotes"),
        ("args: [a, null]", "`args[1]`: expected text, got no value", '"null"'),
        ("env: {X: ~}", "`env.X`: expected text, got no value", '"null"'),
        ("env: {X: }", "`env.X`: expected text, got no value", '""'),
        ("env: {X: [1]}", "`env.X`: expected text, got a list", "quote it: '[1]'"),
        ("args:", "`args` has no value", "remove the line"),
        ("env:", "`env` has no value", "remove the line"),
        ("model: {revision: }", "`model.revision`: expected text, got no value", '""'),
    ],
)
def test_what_is_not_text_is_refused_with_its_place(
    tmp_path: Path, text: str, says: str, offers: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert says in caught.value.message
    assert "mine.yaml, line" in caught.value.context
    assert offers in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("params: {xs: [a, 2.5]}\nargs: ${params.xs}", "`args[1]`: expected text, got 2.5"),
        ('args: ["a\\0b"]', "`args[0]` contains a NUL byte"),
        ('env: {X: "a\\0b"}', "`env.X` contains a NUL byte"),
    ],
)
def test_what_no_program_can_receive_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert says in caught.value.message
