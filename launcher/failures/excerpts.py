"""The lines of logs, tracebacks and stacks that a failure report shows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from launcher import units

LOG_LINES = 10
"""Lines of a log to show if nothing better is known."""
_TRACEBACK_LINES = 16
_TAIL_BYTES = 256 * 1024
_THREAD = re.compile(r"^(Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):")
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
_COLLECTIVE = re.compile(
    r"distributed[/_]|all_reduce|all_gather|barrier|broadcast|reduce_scatter|torch/autograd/graph|"
    r"engines?[/_]|vote_result|nccl|gloo",
    re.IGNORECASE,
)
_OURS = re.compile(r"launcher/runtime/|<frozen runpy>|/runpy\.py|/multiprocessing/|/threading\.py")
_CPP_SOURCE = re.compile(r"^\[/[^\]]*\] ")
"""The place in the C++ sources of torch where an error was raised: long, and of no use."""
_EXCEPTION = re.compile(r"^(?:\[[^\]]*\]:? ?)?([A-Za-z_][\w.]*(?:Error|Exception|Exit)): (.*)")


def last_stack(log: Path) -> list[str]:
    """Return the stack of the program in the last dump of faulthandler, innermost frame first.

    faulthandler writes all threads. The program runs in the last one with frames of its own.
    """
    stacks: list[list[str]] = []
    inside = False
    for line in _tail(log):
        if _THREAD.match(line):
            stacks.append([])
            inside = True
        elif inside and _FRAME.match(line):
            stacks[-1].append(line)
        else:
            inside = False
    own = [[frame for frame in stack if not _OURS.search(frame)] for stack in stacks]
    useful = [stack for stack in own if stack]
    return useful[-1][:_TRACEBACK_LINES] if useful else []


def waits_for_others(stack: list[str]) -> bool:
    """Return whether the innermost frames are those of a collective."""
    return any(_COLLECTIVE.search(line) for line in stack[:4])


def shorten(traceback: str) -> str:
    """Return the last exception of a chain, without its outer frames if it is long."""
    lines = [line[:160] for line in units.uncolored(traceback).rstrip().splitlines()]
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    if starts:
        lines = lines[starts[-1] :]
    if len(lines) <= _TRACEBACK_LINES:
        return "\n".join(lines)
    omitted = len(lines) - _TRACEBACK_LINES + 1
    end = lines[-(_TRACEBACK_LINES - 2) :]
    return "\n".join([lines[0], f"  ... {omitted} lines omitted ...", *end])


def in_one_line(kind: str, message: str) -> str:
    """Return an exception as `Kind: message`, with the first line of the message."""
    first = next(iter(units.uncolored(message).strip().splitlines()), "")
    return f"{kind}: {_CPP_SOURCE.sub('', first)}".rstrip(": ")[:200]


def from_traceback(lines: list[str]) -> list[str]:
    """Return the lines from the last traceback on, or the last few without one."""
    starts = [i for i, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    return lines[starts[-1] :] if starts else lines[-LOG_LINES:]


def exception_in(lines: list[str]) -> tuple[str, str] | None:
    """Return class and message of the last exception in a log."""
    for line in reversed(from_traceback(lines)):
        match = _EXCEPTION.match(units.uncolored(line))
        if match:
            return match.group(1), match.group(2)
    return None


def ranges(numbers: Iterable[int]) -> str:
    """Return `0-3, 7` for 0, 1, 2, 3, 7."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return units.uncolored(file.read().decode("utf-8", "replace")).splitlines()
    except OSError:
        return []
