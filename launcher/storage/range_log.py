"""The log of the byte ranges of a file that have arrived, so that a transfer can resume.

It has one JSON line for each range, appended after the bytes were written. An incomplete last line
is ignored. Every range has a digest, so bytes lost in a power failure are fetched again.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Range", "RangeLog", "gaps"]


@dataclass(frozen=True, order=True)
class Range:
    """The bytes from `start` up to, but not including, `end`."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


def gaps(done: Iterable[Range], size_bytes: int) -> tuple[Range, ...]:
    """Return the missing ranges of a file of `size_bytes`, in order."""
    missing, position = [], 0
    for part in sorted(done):
        if part.start > position:
            missing.append(Range(position, part.start))
        position = max(position, part.end)
    if position < size_bytes:
        missing.append(Range(position, size_bytes))
    return tuple(missing)


class RangeLog:
    """The log of one partial file. Several threads may add to it."""

    def __init__(self, path: Path, *, size_bytes: int, version: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._head = {"size": size_bytes, "version": version}

    def resume(self, partial: Path) -> tuple[Range, ...]:
        """Return the ranges of `partial` that are of this version and still intact.

        A log of another version, or without a version, has none. The log is rewritten in any case,
        so that the next line does not continue an incomplete one.
        """
        head, *lines = _lines(self._path) or [{}]
        same = head == self._head and self._head["version"] and partial.exists()
        intact = _intact(partial, lines) if same else []
        kept = "".join(json.dumps(line) + "\n" for line in (self._head, *intact))
        self._path.write_text(kept, encoding="utf-8")
        return tuple(Range(line["a"], line["b"]) for line in intact)

    def add(self, part: Range, content: bytes) -> None:
        """Record that the bytes of `part` are in the partial file."""
        line = json.dumps({"a": part.start, "b": part.end, "x": _digest(content)})
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [value for line in text.splitlines() if (value := _parsed(line)) is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _intact(partial: Path, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with partial.open("rb") as file:
        return [line for line in lines if _matches(file.fileno(), line)]


def _matches(descriptor: int, line: dict[str, Any]) -> bool:
    try:
        content = os.pread(descriptor, line["b"] - line["a"], line["a"])
        return len(content) == line["b"] - line["a"] and _digest(content) == str(line["x"])
    except (KeyError, TypeError, OSError):
        return False


def _digest(content: bytes) -> str:
    import xxhash  # noqa: PLC0415

    return str(xxhash.xxh3_64_hexdigest(content))
