"""The default data set: prose of docstrings, clean, balanced, the same every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from recipes.bert_finetune import build_docstrings as program

SMALL = ["per_label=12", "min_per_label=6", "packages=numpy,rich,no_such_package"]


def build(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the program as staging does."""
    words = [word for option in options for word in ("--option", option)]
    return subprocess.run(
        [sys.executable, program.__file__, "--out", str(out), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.process
def test_the_same_files_give_the_same_data_set_byte_for_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        done = build(tmp_path / name, *SMALL)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("PROGRESS ")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert any(path.suffix == ".arrow" for path in files)
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()

    data = datasets.load_from_disk(str(tmp_path / "one"))
    assert set(data["train"].features["label"].names) == {*program.TOPICS, "numpy", "rich"}
    assert list(data["train"]["id"]) == list(range(len(data["train"])))
    assert not set(data["train"]["text"]) & set(data["test"]["text"])


@pytest.mark.process
def test_an_unknown_option_is_named_with_those_that_exist(tmp_path: Path) -> None:
    done = build(tmp_path / "out", "per_lable=3")
    assert done.returncode == 2
    assert "unknown option `per_lable`" in done.stderr
    assert "per_label" in done.stderr


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("add(a, b) -> int\n\nReturn the sum.", "Return the sum."),
        ("Return it.\n\n>>> add(1, 2)\n3 is shown", "Return it. 3 is shown"),
        ("See :class:`~pathlib.Path` and ``os``.", "See pathlib.Path and os."),
        ("Title\n=====\n\nReturns\n-------\nA list.", "Title A list."),
        (".. note:: Beware.", "Beware."),
        ("Lone \ud800 surrogate.", "Lone surrogate."),
    ],
)
def test_signatures_code_rules_and_markup_are_no_prose(docstring: str, expected: str) -> None:
    assert " ".join(program.prose(docstring).split()) == expected


def test_docstrings_are_read_without_running_the_module(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""What the module is for."""\nraise SystemExit\n'
        'if True:\n    class A:\n        async def b(self):\n            """What b does."""\n'
    )
    settings = program.Settings(min_words=3)
    assert set(program.prose_of_file(path, settings)) == {"What the module is for.", "What b does."}


def test_a_file_that_does_not_parse_has_no_docstrings(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""A docstring."""\ndef (:\n')
    assert list(program.prose_of_file(path, program.Settings(min_words=1))) == []


def example(text: str, label: str) -> program.Example:
    return program.Example(digest=program.digest_of(text), text=text, label=label)


def test_a_text_of_two_labels_belongs_to_none() -> None:
    pools = {
        "a": [example("shared words", "a"), example("only in a", "a")],
        "b": [example("Shared   words!", "b"), example("only in b", "b")],
    }
    chosen = program.choose(pools, program.Settings(min_per_label=1))
    assert {each.text for each in chosen} == {"only in a", "only in b"}


def test_a_label_of_too_few_texts_is_left_out_and_one_of_many_is_capped() -> None:
    pools = {
        "few": [example("alone", "few")],
        "many": [example("number " + "abcdefgh"[i] * 3, "many") for i in range(8)],
    }
    chosen = program.choose(pools, program.Settings(min_per_label=2, per_label=5))
    assert [each.label for each in chosen] == ["many"] * 5


def test_a_text_stays_on_its_side_of_the_split_whatever_else_there_is() -> None:
    settings = program.Settings(test_percent=50)
    sides = [program.is_test(example(f"text {i}", "a"), settings) for i in range(200)]
    assert sides == [program.is_test(example(f"text {i}", "b"), settings) for i in range(200)]
    assert 60 < sum(sides) < 140
