"""Which bytes are there."""

from __future__ import annotations

from pathlib import Path

from launcher.storage.range_log import Range, RangeLog, gaps


def test_gaps_of_an_empty_file_are_the_whole() -> None:
    assert gaps([], 10) == (Range(0, 10),)


def test_gaps_between_ranges_in_any_order() -> None:
    assert gaps([Range(6, 8), Range(0, 2), Range(2, 3)], 10) == (Range(3, 6), Range(8, 10))


def test_a_whole_file_has_no_gaps() -> None:
    assert gaps([Range(0, 4), Range(4, 10)], 10) == ()


def test_overlapping_ranges_count_once() -> None:
    assert gaps([Range(0, 6), Range(4, 8)], 10) == (Range(8, 10),)


def test_what_was_added_is_found_again(tmp_path: Path) -> None:
    partial = tmp_path / "x.part"
    partial.write_bytes(b"abcdef")
    journal = RangeLog(tmp_path / "x.journal", size_bytes=6, version="v")
    assert journal.resume(partial) == ()
    journal.add(Range(0, 2), b"ab")
    journal.add(Range(4, 6), b"ef")
    again = RangeLog(tmp_path / "x.journal", size_bytes=6, version="v")
    assert again.resume(partial) == (Range(0, 2), Range(4, 6))


def test_a_journal_of_another_size_counts_for_nothing(tmp_path: Path) -> None:
    partial = tmp_path / "x.part"
    partial.write_bytes(b"abcdef")
    journal = RangeLog(tmp_path / "x.journal", size_bytes=6, version="v")
    journal.resume(partial)
    journal.add(Range(0, 2), b"ab")
    assert RangeLog(tmp_path / "x.journal", size_bytes=7, version="v").resume(partial) == ()


def test_a_line_that_is_no_range_is_ignored(tmp_path: Path) -> None:
    partial = tmp_path / "x.part"
    partial.write_bytes(b"abcdef")
    journal = RangeLog(tmp_path / "x.journal", size_bytes=6, version="v")
    journal.resume(partial)
    with (tmp_path / "x.journal").open("a", encoding="utf-8") as file:
        file.write('{"a": 0}\n[1]\nnonsense\n')
    assert journal.resume(partial) == ()
