"""Exceptions as the status file records them."""

from __future__ import annotations

from launcher.runtime.shim import describe


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_builtin_exceptions_are_named_without_their_module() -> None:
    record = describe(ValueError("bad"))
    assert (record.kind, record.message) == ("ValueError", "bad")


def test_other_exceptions_are_named_with_their_module() -> None:
    assert describe(Unprintable()).kind.endswith("test_shim_errors.Unprintable")


def test_an_exception_that_cannot_be_printed_is_still_recorded() -> None:
    assert "unprintable" in describe(Unprintable()).message


def test_a_huge_message_is_cut() -> None:
    assert len(describe(ValueError("x" * 1_000_000)).traceback) <= 40_000


def test_a_message_with_a_file_name_that_is_not_utf8_can_be_written() -> None:
    record = describe(FileNotFoundError("caf\udce9.txt"))
    assert record.message == r"caf\udce9.txt"
    assert record.traceback.encode("utf-8")
