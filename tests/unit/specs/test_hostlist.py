"""Lists of hosts in their short form."""

import pytest

from launcher.specs.hostlist import expand, split


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
