"""Short forms for many nodes."""

import pytest

from launcher.specs.ranges import expand, read_counts, split, write_counts


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((), ""),
        ((2,), "2"),
        ((1, 1), "1(x2)"),
        ((2, 0, 1), "2,0,1"),
        ((5, 1, 1, 1), "5,1(x3)"),
        ((1,) * 9999 + (0,), "1(x9999),0"),
    ],
)
def test_numbers_are_written_short_and_read_back(counts: tuple[int, ...], text: str) -> None:
    assert write_counts(counts) == text
    assert read_counts(text) == counts


def test_numbers_written_long_are_read_too() -> None:
    assert read_counts("1,1, 1") == (1, 1, 1)


@pytest.mark.parametrize("text", [",", "a", "2(3)", "2(x)", "2,,1", "-1", "1.5", "2(x-1)"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        read_counts(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("login", ("login",)),
        ("gpu[1-3]", ("gpu1", "gpu2", "gpu3")),
        ("node[08-11]", ("node08", "node09", "node10", "node11")),
        ("node[1,3,5-7]", ("node1", "node3", "node5", "node6", "node7")),
        ("r[1-2]n[1-3]", ("r1n1", "r1n2", "r1n3", "r2n1", "r2n2", "r2n3")),
        ("a[1-2]b.site", ("a1b.site", "a2b.site")),
        ("[1-2]", ("1", "2")),
        ("n[9-10]", ("n9", "n10")),
        ("n[098-101]", ("n098", "n099", "n100", "n101")),
        ("n[ 1 , 2 ]", ("n1", "n2")),
    ],
)
def test_a_range_stands_for_its_names_with_their_zeros(text: str, names: tuple[str, ...]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("n[1-3", "not closed"),
        ("n1-3]", "not closed"),
        ("n[1[2]]", "inside another"),
        ("n[3-1]", "backwards"),
        ("n[a-c]", "expected a number"),
        ("n[]", "expected a number"),
        ("n[1,]", "expected a number"),
        ("n[-4]", "expected a number"),
        ("n[1-99999999]", "more than 10000"),
        ("n[1-200][1-200]", "more than 10000"),
    ],
)
def test_a_range_that_cannot_be_read_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        expand(text)


def test_a_list_is_cut_outside_of_brackets_only() -> None:
    assert list(split("a[1,2],b, c[3]")) == ["a[1,2]", "b", "c[3]"]
    assert list(split("a")) == ["a"]
