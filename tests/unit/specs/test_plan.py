"""The key of a staged item identifies its request."""

from dataclasses import replace

import pytest

from launcher.specs import StageItem

ITEM = StageItem(name="model", uri="hf://org/model", revision="main", include=("*.json",))


def test_equal_requests_share_one_key() -> None:
    assert ITEM.key() == replace(ITEM).key()
    assert len(ITEM.key()) == 16


@pytest.mark.parametrize(
    "other",
    [
        replace(ITEM, revision="v2"),
        replace(ITEM, include=("*",)),
        replace(ITEM, strip="a"),
        replace(ITEM, options={"a": "b"}),
    ],
)
def test_another_request_has_another_key(other: StageItem) -> None:
    assert other.key() != ITEM.key()


def test_another_input_of_a_build_gives_another_key() -> None:
    assert ITEM.key(("one",)) != ITEM.key(("two",))
