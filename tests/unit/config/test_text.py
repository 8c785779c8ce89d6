"""Text on the command line: nothing is changed but quotes around a whole item."""

from __future__ import annotations

import re

import pytest

from launcher.config import text

TYPED = [
    *("true", "Yes", "null", "~", "inf", "nan", "1_000", "2.10", "1e-4", "12e4567", "0x10", "007"),
    *("1:30", "2024-01-01", "[0,1]", "trainer.devices=[0,1]", '{"a": 1}', '{"a": "x,]"}', "{}"),
    *("--cfg={'a': [1, 2]}", "--betas=(0.9,0.99)", "it's", "5'6\"", "rock 'n' roll", '--x="a b"'),
    *(
        "a=b",
        "a:b",
        "a b",
        "#x",
        "a #b",
        "$HOME",
        "%s",
        "@file",
        "*",
        "~/x",
        "`id`",
        "$(id)",
        "a\nb",
    ),
    *(
        "\\d+\\.\\(x\\)",
        "C:\\new",
        "\\",
        "é日😀",
        "\x85",
        "\xa0",
        "\u2028x",
        "--",
        "-",
        "|",
        "&a",
        "!x",
        "--fmt=%d{a,b}",
    ),
]


@pytest.mark.parametrize("typed", TYPED)
def test_an_item_stays_as_typed_alone_and_in_a_list(typed: str) -> None:
    assert text.values(typed) == [typed]
    assert text.text_of(typed) == typed
    assert text.items(f"[--first, {typed} ,last]") == ["--first", typed, "last"]


@pytest.mark.parametrize(
    "meant", [*TYPED, "", " a ", "a,b", "'q'", '"q"', "a\\'b", "[", "}", "\\\\"]
)
def test_quotes_can_enclose_any_item(meant: str) -> None:
    assert text.items(f"[x,{text.in_quotes(meant)}]") == ["x", meant]
    assert text.text_of(text.in_quotes(meant)) == meant


def test_a_comma_separates_unless_it_is_inside_quotes_or_brackets_or_after_a_backslash() -> None:
    assert text.items("[a, b]") == ["a", "b"]
    assert text.items("['a,b',f(c,d),e\\,f]") == ["a,b", "f(c,d)", "e,f"]
    assert text.items("[don't,won't,the '90s]") == ["don't", "won't", "the '90s"]
    assert text.items("[C:\\\\,b]") == ["C:\\\\", "b"]
    assert text.items("[]") == text.items("[ ]") == []
    assert text.items("['']") == [""]


def test_only_brackets_around_the_whole_value_make_a_list() -> None:
    for value in ("a", "", "[::2]:2222", "[a],[b]", "gpu[1,3]", "'[a]'"):
        assert text.items(value) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[[a]", "expected a closing `]`"),
        ("[a]b]", "unexpected `]`"),
        ("[(a]", "unexpected `]`"),
        ("[:-)]", "unexpected `)`"),
        ("['a]", "expected a closing '"),
        ('["a"b]', "the quotes do not enclose all"),
        ("[a,,b]", "an item is empty"),
        ("[a,]", "an item is empty"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(value: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        text.items(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1_000, 2_000", ["1_000", "2_000"]),
        ("choice(true,null)", ["true", "null"]),
        ("choice([a,1e3],[b])", ["[a,1e3]", "[b]"]),
        ("[a],[b]", ["[a]", "[b]"]),
        ("range(1,4)", ["1", "2", "3"]),
        ("range(4,1)", []),
        ("choice()", []),
        ("choice(a).py", ["choice(a).py"]),
        (":-(", [":-("]),
    ],
)
def test_the_values_of_a_sweep_stay_as_typed(value: str, expected: list[str]) -> None:
    assert text.values(value) == expected


@pytest.mark.parametrize("value", ["sort(b,a)", "glob(*)", "range(a)", "(a,b", "it is 'a, b'"])
def test_a_sweep_that_would_change_text_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"expected|does not keep text|unclear"):
        text.values(value)
