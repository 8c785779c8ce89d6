"""Numbers, sizes, times, columns and commands as text, the same way everywhere. Pure."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterable, Sequence

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that control a terminal, or that reverse or break a line, so that a name can look like
another one. Not tab and newline."""
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def number(value: float) -> str:
    """Return a number with about four significant digits: `12,400`, `0.0312`, `3.1e-5`."""
    if value != value or abs(value) == float("inf"):  # noqa: PLR0124 - NaN differs from itself
        return str(value)
    if value == int(value) or abs(value) >= 999.95:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    if abs(value) >= 0.001:
        return f"{value:.4g}"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def value(result: object) -> str:
    """Return a result of a program: a number as `number` writes it, everything else as it is."""
    if isinstance(result, int | float) and not isinstance(result, bool):
        return number(result)
    return str(result)


def loss(value: float | None) -> str:
    """Return a loss with four decimals, so that a column of them does not jump; a dash for None."""
    return "-" if value is None else f"{value:.4f}"


def rate(per_second: float | None) -> str:
    """Return a rate with three significant digits: `0.42`, `8.31`, `152`; a dash for None."""
    if per_second is None:
        return "-"
    if per_second >= 99.95:
        return f"{per_second:,.0f}"
    return f"{per_second:.1f}" if per_second >= 9.995 else f"{per_second:.2f}"


def count(number_of: int, noun: str) -> str:
    """Return how many there are: `1 file`, `13 files`."""
    return f"{number_of} {noun}" + ("" if number_of == 1 else "s")


def size(n_bytes: float) -> str:
    """Return a size in decimal units, as disks and links are sold: `83.5 MB`."""
    amount = float(n_bytes)
    for unit in _UNITS:
        if amount < 999.5 or unit == _UNITS[-1]:
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"


def bandwidth(bytes_per_s: float) -> str:
    """Return a size per second: `83.5 MB/s`."""
    return f"{size(bytes_per_s)}/s"


def latency(seconds: float) -> str:
    """Return a short time in milliseconds with three significant digits: `0.12 ms`."""
    return f"{rate(1e3 * seconds)} ms"


def duration(seconds: float) -> str:
    """Return how long something took: `0.3 s`, `48 s`, `2 min 31 s`, `3 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s".removesuffix(" 00 s")
    return f"{whole // 3600} h {whole // 60 % 60:02d} min"


def clock(seconds: float | None) -> str:
    """Return a time that is left or has passed: `1:32`, `2:03:10`; `-:--` for None."""
    if seconds is None:
        return "-:--"
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def moment(at: float) -> str:
    """Return a point in time, in the time zone of this machine: `2026-03-14 15:09:26`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def time_of_day(at: float) -> str:
    """Return the time of `moment` without the date: `15:09:26`."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def columns(rows: Sequence[Sequence[object]]) -> list[str]:
    """Return rows of equally many cells as lines; two spaces separate the widest cell of a column.

    The width is that on a terminal, where some letters take two places and others none.
    """
    from rich.cells import cell_len  # noqa: PLC0415  ranks import this module, and print no table

    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) + 2 for column in zip(*texts, strict=True)]
    return [
        "".join(
            text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in texts
    ]


def shell_word(text: str) -> str:
    r"""Return `text` as one word of a shell, with control characters as `$'\x1b'` (bash, zsh)."""
    if not CONTROLS.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{CONTROLS.sub(_bytes, escaped)}'"


def _bytes(control: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(control.group()))


def shell_line(words: Iterable[str]) -> str:
    """Return a command as one line that can be pasted into a shell."""
    return " ".join(map(shell_word, words))


def uncolored(text: str) -> str:
    """Return what a program printed, or an exception of it, without the escape codes of colors."""
    return _COLORS.sub("", text)
