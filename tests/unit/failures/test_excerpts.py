"""What a failure report shows of logs, tracebacks and stacks."""

from __future__ import annotations

from pathlib import Path

from launcher.failures.excerpts import (
    exception_in,
    in_one_line,
    last_stack,
    ranges,
    shorten,
    waits_for_others,
)

DUMP = """step 7
Thread 0x01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait

Current thread 0x02 (most recent call first):
  File "/home/me/data.py", line 77 in read_shard
  File "/x/launcher/runtime/shim.py", line 60 in _execute
"""


def test_numbers_are_written_as_ranges() -> None:
    assert ranges([3, 0, 1, 2, 7, 7]) == "0-3, 7"
    assert ranges([]) == ""


def test_an_exception_is_one_line_without_the_place_in_the_sources_of_torch() -> None:
    message = "[/pytorch/third_party/gloo/pair.cc:534] Connection closed\nmore"
    assert in_one_line("RuntimeError", message) == "RuntimeError: Connection closed"
    assert in_one_line("KeyboardInterrupt", "") == "KeyboardInterrupt"


def test_the_last_exception_of_a_log_is_found_behind_the_prefix_of_a_rank() -> None:
    lines = ["Traceback (most recent call last):", "[rank0]: ValueError: bad", "bye"]
    assert exception_in(lines) == ("ValueError", "bad")
    assert exception_in(["usage: train.py"]) is None


def test_a_long_traceback_keeps_its_end() -> None:
    text = "Traceback (most recent call last):\n" + "".join(f"  line {n}\n" for n in range(40))
    lines = shorten(text).splitlines()
    assert len(lines) == 16
    assert lines[1] == "  ... 26 lines omitted ..."
    assert lines[-1] == "  line 39"


def test_the_stack_is_that_of_the_program(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_stack(log) == []
    log.write_text(DUMP)
    assert last_stack(log) == ['  File "/home/me/data.py", line 77 in read_shard']
    assert not waits_for_others(last_stack(log))
    assert waits_for_others(['  File "/v/torch/distributed/c10d.py", line 2 in all_reduce'])


def test_colors_of_a_program_are_dropped() -> None:
    lines = ["\x1b[1;35mValueError\x1b[0m: \x1b[35mbad \x1b[2Jrow\x1b[0m"]
    assert exception_in(lines) == ("ValueError", "bad \x1b[2Jrow")
    assert in_one_line("ValueError", "\x1b[31mred\x1b[0m") == "ValueError: red"
    assert shorten("\x1b[31mTraceback\x1b[0m") == "Traceback"
