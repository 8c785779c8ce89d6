"""Lists of hosts in the short form of Slurm and of hostfiles: `gpu[01-16,20],login`. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

MAX_HOSTS = 10_000
"""Hosts in one expression; more are a typo."""

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand(text: str) -> tuple[str, ...]:
    """Return the host names of one expression with ranges; the last bracket varies fastest.

    Raises:
        ValueError: the brackets are invalid; the message says why.
    """
    parts = _BRACKETS.split(text)  # outside of brackets at even places, inside at odd ones
    outside = parts[::2]
    if any("[" in part or "]" in part for part in outside):
        raise ValueError("a bracket is not closed, or is inside another")
    choices = [_numbers(inside) for inside in parts[1::2]]
    count = 1
    for each in choices:
        count *= len(each)
    if count > MAX_HOSTS:
        raise ValueError(f"{count} hosts are more than {MAX_HOSTS}")
    return tuple(_join(outside, numbers) for numbers in itertools.product(*choices))


def same_host(name: str) -> str:
    """Return a form that all spellings of one host share: DNS ignores case and a final dot."""
    return name.strip("[]").rstrip(".").lower()


def split(text: str) -> Iterator[str]:
    """Split a list at the commas outside of brackets."""
    depth = start = 0
    for place, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth <= 0:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()


def _join(outside: list[str], numbers: tuple[str, ...]) -> str:
    parts = itertools.zip_longest(outside, numbers, fillvalue="")
    return "".join(itertools.chain.from_iterable(parts))


def _numbers(inside: str) -> list[str]:
    numbers: list[str] = []
    for part in inside.split(","):
        match = _RANGE.fullmatch(part.strip())
        if not match:
            raise ValueError(f"expected a number or a range such as 1-4, got `{part.strip()}`")
        first, last = match.group(1), match.group(2) or match.group(1)
        if int(last) < int(first):
            raise ValueError(f"the range {part.strip()} goes backwards")
        if int(last) - int(first) >= MAX_HOSTS:
            raise ValueError(f"the range {part.strip()} has more than {MAX_HOSTS} hosts")
        numbers += [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    return numbers
