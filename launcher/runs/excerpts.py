"""The part of a traceback, a log or a list that a person wants to see."""

from __future__ import annotations

import re
from collections.abc import Sequence

LOG_LINES = 10
"""Lines of a log that are shown where nothing better is known."""


def in_short(numbers: Sequence[int]) -> str:
    """Return `0-3, 7` for 0, 1, 2, 3, 7."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def shorten(traceback: str, limit: int) -> str:
    """Return the last exception of a chain, with its innermost frames if it has too many lines."""
    lines = [line[:160] for line in traceback.rstrip().splitlines()]
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    if starts:
        lines = lines[starts[-1] :]
    if len(lines) <= limit:
        return "\n".join(lines)
    left_out = len(lines) - limit + 1
    return "\n".join([lines[0], f"  ... {left_out} lines left out ...", *lines[-(limit - 2) :]])


_CPP_PLACE = re.compile(r"^\[/[^\]]*\] ")
"""Where in torch's C++ sources an error was raised: long, and no use to who reads it."""


def in_one_line(kind: str, message: str) -> str:
    """Return an exception as `Kind: message`, cut to what fits a line or two."""
    return f"{kind}: {_CPP_PLACE.sub('', first_line(message))}".rstrip(": ")[:200]


def first_line(text: str) -> str:
    """Return the first line of a message."""
    lines = text.strip().splitlines()
    return lines[0] if lines else ""


def from_traceback(lines: list[str]) -> list[str]:
    """Return the lines from the last traceback on, or the last few if there is none."""
    starts = [i for i, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    return lines[starts[-1] :] if starts else lines[-LOG_LINES:]


def exception_in(lines: list[str]) -> tuple[str, str] | None:
    """Return class and message of the last exception in a log."""
    for line in reversed(from_traceback(lines)):
        found = re.match(
            r"^(?:\[[^\]]*\]:? ?)?([A-Za-z_][\w.]*(?:Error|Exception|Exit)): (.*)", line
        )
        if found:
            return found.group(1), found.group(2)
    return None
