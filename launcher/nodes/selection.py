"""Which of a source's hosts are candidates, and in which order: include, exclude, spares, head."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from launcher.errors import ConfigError, nearest
from launcher.nodes.candidate import Candidate, NodesRequest


def select(
    hosts: Sequence[Candidate], spares: Sequence[Candidate], request: NodesRequest
) -> tuple[Candidate, ...]:
    """Return the hosts that the request selects, the head first and `spares` last.

    A spare that is also in `hosts` moves to the end and keeps the values it has there.

    Raises:
        ConfigError: a name matches no host; the hint offers the nearest one.
    """
    known = {host.name: host for host in (*spares, *hosts)}
    included = frozenset(match("cluster.include", request.cluster.include, known))
    excluded = frozenset(match("cluster.exclude", request.cluster.exclude, known))
    spare_names = dict.fromkeys(spare.name for spare in spares)
    plain = [
        host
        for host in hosts
        if host.name not in spare_names and (not included or host.name in included)
    ]
    last = [replace(known[name], spare=True) for name in spare_names]
    left = [host for host in (*plain, *last) if host.name not in excluded]
    if not left:
        raise ConfigError(
            "cluster.include and cluster.exclude leave no host", hint="exclude fewer hosts"
        )
    ordered = _head_first(left, request.cluster.head)
    return tuple(
        replace(host, node=replace(host.node, node_rank=place))
        for place, host in enumerate(ordered)
    )


def match(key: str, texts: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the names that `texts`, the value of `key`, describe.

    Raises:
        ConfigError: one of them is not `known`; the hint offers the nearest one.
    """
    valid = frozenset(known)
    names: list[str] = []
    for text in texts:
        if ":" in text and text not in valid:
            raise ConfigError(
                f"`{key}` names `{text}`: single devices of a host cannot be chosen",
                hint="name only the host, and set CUDA_VISIBLE_DEVICES on that node",
            )
        try:
            names += expand(text)
        except ValueError as error:
            raise ConfigError(
                f"`{key}` names `{text}`: {error}", hint=f"for example '{key}=[gpu[1-4],gpu7]'"
            ) from None
    for name in names:
        if name not in valid:
            raise _no_such_host(key, name, sorted(valid))
    return tuple(dict.fromkeys(names))


def _head_first(hosts: list[Candidate], head: str) -> list[Candidate]:
    if not head:
        return hosts
    named = [replace(host, spare=False) for host in hosts if host.name == head]
    if not named:
        raise _no_such_host("cluster.head", head, [host.name for host in hosts])
    return named + [host for host in hosts if host.name != head]


def _no_such_host(key: str, name: str, names: Sequence[str]) -> ConfigError:
    near = nearest(name, names)
    guess = f"did you mean `{near}`? " if near else ""
    return ConfigError(
        f"`{key}` names `{name}`, which is not among the hosts",
        hint=f"{guess}The hosts are: {listing(names)}",
    )


# Host lists in the short form of Slurm and hostfiles: `gpu[01-16,20],login`. Pure.
MOST = 10_000
"""Hosts that one text may describe; more must be a typo."""

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand(text: str) -> tuple[str, ...]:
    """Return the names that a name with ranges describes; the last bracket varies fastest.

    Raises:
        ValueError: the brackets cannot be read.
    """
    fixed = _BRACKETS.split(text)  # text outside of brackets at even places, inside at odd places
    outside = fixed[::2]
    if any("[" in part or "]" in part for part in outside):
        raise ValueError("a bracket is not closed, or is inside another one")
    choices = [_numbers(inside) for inside in fixed[1::2]]
    names = 1
    for each in choices:
        names *= len(each)
    if names > MOST:
        raise ValueError(f"it describes {names} hosts, more than {MOST}")
    return tuple(_join(outside, numbers) for numbers in itertools.product(*choices))


def split(text: str) -> Iterator[str]:
    """Split a list at the commas outside of brackets."""
    depth = start = 0
    for place, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth <= 0:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()


def listing(names: Sequence[str], most: int = 8) -> str:
    """Return names for a sentence; only the first of very many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _join(outside: list[str], numbers: tuple[str, ...]) -> str:
    parts = itertools.zip_longest(outside, numbers, fillvalue="")
    return "".join(itertools.chain.from_iterable(parts))


def _numbers(inside: str) -> list[str]:
    numbers: list[str] = []
    for part in inside.split(","):
        limits = _RANGE.fullmatch(part.strip())
        if not limits:
            raise ValueError(f"`{part.strip()}`: expected a number or a range such as 1-4")
        first, last = limits.group(1), limits.group(2) or limits.group(1)
        if int(last) < int(first):
            raise ValueError(f"the range {part.strip()} goes backwards")
        if int(last) - int(first) >= MOST:
            raise ValueError(f"the range {part.strip()} describes more than {MOST} hosts")
        numbers += [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
    return numbers
