"""Which of a source's hosts are candidates, and in which order: include, exclude, spares, head."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from launcher.errors import ConfigError, nearest
from launcher.nodes.candidate import Candidate
from launcher.nodes.config import NodesRequest


def select(
    hosts: Sequence[Candidate], spares: Sequence[Candidate], request: NodesRequest
) -> tuple[Candidate, ...]:
    """Return the hosts that `request` leaves, the head first and `spares` last.

    A spare that is one of `hosts` too moves to the end and keeps what was said of it there.

    Raises:
        ConfigError: a name matches no host; the nearest is offered.
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
            "cluster.include and cluster.exclude leave no host", hint="take less of them away"
        )
    ordered = _head_first(left, request.cluster.head)
    return tuple(
        replace(host, node=replace(host.node, node_rank=place))
        for place, host in enumerate(ordered)
    )


def match(key: str, texts: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the names that `texts`, the value of `key`, stand for.

    Raises:
        ConfigError: one of them is not `known`; the nearest is offered.
    """
    valid = frozenset(known)
    names: list[str] = []
    for text in texts:
        if ":" in text and text not in valid:
            raise ConfigError(
                f"`{key}` names `{text}`: single devices of a host cannot be chosen here",
                hint="name the host alone, and set CUDA_VISIBLE_DEVICES on that node",
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
    found = [replace(host, spare=False) for host in hosts if host.name == head]
    if not found:
        raise _no_such_host("cluster.head", head, [host.name for host in hosts])
    return found + [host for host in hosts if host.name != head]


def _no_such_host(key: str, name: str, names: Sequence[str]) -> ConfigError:
    near = nearest(name, names)
    guess = f"did you mean `{near}`? " if near else ""
    return ConfigError(
        f"`{key}` names `{name}`, which is not among the hosts",
        hint=f"{guess}There are: {listing(names)}",
    )


# Host lists in the short form that Slurm and hostfiles use: `gpu[01-16,20],login`. Pure.
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
