from __future__ import annotations

import pytest

from launcher.preflight.majority import most_common, same_release


def test_the_most_frequent_value_wins_and_of_equals_the_first() -> None:
    assert most_common(["b", "a", "a"]) == "a"
    assert most_common(["b", "a"]) == "b"
    assert most_common([]) == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2.13.0", "2.13.1+cpu", True),
        ("2.13.0", "2.12.0", False),
        ("0.1.0", "0.2.0", False),
        ("3.11.7", "3.11.2", True),
        ("3.1.1", "3.11.1", False),
        ("2.13.0rc1", "2.13.0", True),
    ],
)
def test_two_numbers_decide_whether_it_is_the_same_release(
    one: str, other: str, *, same: bool
) -> None:
    assert same_release(one, other) is same
