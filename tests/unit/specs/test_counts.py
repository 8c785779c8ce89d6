"""One number per node, written short."""

import pytest

from launcher.specs.counts import read_counts, write_counts


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
    with pytest.raises(ValueError, match="no number"):
        read_counts(text)
