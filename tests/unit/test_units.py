"""Numbers as people read them."""

from __future__ import annotations

from launcher import units


def test_sizes_have_three_digits_that_matter() -> None:
    shown = [units.size(n) for n in (0, 999, 1000, 83_500_000, 999_600, 123_456_789, 2.5e12)]
    assert shown == ["0 B", "999 B", "1.0 kB", "83.5 MB", "1.0 MB", "123 MB", "2.5 TB"]


def test_one_thing_is_not_plural() -> None:
    assert [units.count(n, "file") for n in (0, 1, 13)] == ["0 files", "1 file", "13 files"]


def test_clocks_show_hours_only_when_there_are_any() -> None:
    assert [units.clock(s) for s in (None, -3, 0, 92, 3599.6, 7390)] == [
        *("-:--", "0:00", "0:00", "1:32", "1:00:00", "2:03:10"),
    ]


def test_durations_are_words() -> None:
    shown = [units.duration(s) for s in (0.26, 9.96, 48.2, 60, 151, 3600, 11_100)]
    assert shown == ["0.3 s", "10 s", "48 s", "1 min", "2 min 31 s", "1 h 00 min", "3 h 05 min"]


def test_rates_and_values_are_short() -> None:
    shown = [units.rate(r) for r in (None, 0.416, 8.312, 38.14, 152.4, 12_345.0)]
    assert shown == ["-", "0.42", "8.31", "38.1", "152", "12,345"]
    assert [units.value(v) for v in (0.91234567, 3, "x")] == ["0.9123", "3", "x"]
