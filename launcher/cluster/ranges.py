"""Host lists in the short form that Slurm and hostfiles use: `gpu[01-16,20],login`. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

MOST = 10_000
"""Hosts that one text may stand for; more are surely a slip of the finger."""

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand(text: str) -> tuple[str, ...]:
    """Return the names that one name with ranges stands for; the last bracket counts fastest.

    Raises:
        ValueError: the brackets cannot be read; the message says why.
    """
    fixed = _BRACKETS.split(text)  # texts between brackets at even places, their insides at odd
    outside = fixed[::2]
    if any("[" in part or "]" in part for part in outside):
        raise ValueError("a bracket is not closed, or stands inside another")
    choices = [_numbers(inside) for inside in fixed[1::2]]
    names = 1
    for each in choices:
        names *= len(each)
    if names > MOST:
        raise ValueError(f"it stands for {names} hosts, more than {MOST}")
    return tuple(_join(outside, numbers) for numbers in itertools.product(*choices))


def split(text: str) -> Iterator[str]:
    """Cut a list at the commas that stand outside of brackets."""
    depth = start = 0
    for place, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth <= 0:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()


def listing(names: Sequence[str], most: int = 8) -> str:
    """Return names for a sentence; of very many only the first."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _join(outside: list[str], numbers: tuple[str, ...]) -> str:
    parts = itertools.zip_longest(outside, numbers, fillvalue="")
    return "".join(itertools.chain.from_iterable(parts))


def _numbers(inside: str) -> list[str]:
    numbers: list[str] = []
    for part in inside.split(","):
        found = _RANGE.fullmatch(part.strip())
        if not found:
            raise ValueError(f"`{part.strip()}` is no number and no range such as 1-4")
        first, last = found.group(1), found.group(2) or found.group(1)
        if int(last) < int(first):
            raise ValueError(f"the range {part.strip()} goes backwards")
        if int(last) - int(first) >= MOST:
            raise ValueError(f"the range {part.strip()} stands for more than {MOST} hosts")
        numbers += [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    return numbers
