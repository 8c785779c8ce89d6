"""The syntax of one host, in a hostfile or on the command line: `alice@gpu1:2222 slots=8`.

It is the common part of what Open MPI and DeepSpeed read, with ranges, users and ports. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from launcher.errors import ConfigError, nearest
from launcher.nodes.candidate import Candidate
from launcher.specs import Node
from launcher.specs.hostlist import expand, same_host, split

EXPECTED = "`host`, `host slots=8`, `host:8`, `user@host:2222 slots=8` or `gpu[01-16] slots=8`"

_KEYS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("slots", "count", "cpus", "cores"), "slots"),
        **dict.fromkeys(("max_slots", "max-slots", "slots_max", "slots-max"), "max_slots"),
        **dict.fromkeys(("user", "username", "user_name", "user-name"), "user"),
        "port": "port",
    }
)
"""Key of another tool -> our key."""

_DEVICES = "devices of a host cannot be chosen; set CUDA_VISIBLE_DEVICES on that host instead"
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@\\-]*\$?")
_LEAST_PORT = 100
"""`host:8` means 8 ranks, as for horovodrun, mpirun and MPICH. 22, and numbers from here on, are a
port of ssh: below it no other port of ssh is in use, and few hosts run more ranks."""
_SSH_PORT = 22


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One host; a line with a range is several entries."""

    host: str
    user: str = ""
    port: int = 0
    slots: int | None = None
    max_slots: int | None = None
    where: str = ""
    """Its place, for messages: `line 3 of hosts.txt`."""


def parse(text: str, where: str) -> tuple[Entry, ...]:
    """Read one line that is not empty.

    Raises:
        ConfigError: it cannot be read; the message has its place and what is expected.
    """
    try:
        return tuple(_parse(text, where))
    except ValueError as error:
        raise ConfigError(
            f"{where}: {error}", context=_shown(text), hint=f"expected: {EXPECTED}"
        ) from None


def merge(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return one entry per host, in the order of first mention; slots of a repeated host add up.

    Open MPI does the same, and a PBS node file has one line per rank.

    Raises:
        ConfigError: two entries of a host contradict each other.
    """
    merged: dict[str, Entry] = {}
    for entry in entries:
        host = same_host(entry.host)
        before = merged.get(host)
        merged[host] = _added(before, entry) if before else entry
    return tuple(merged.values())


def candidates(entries: Iterable[Entry]) -> tuple[Candidate, ...]:
    """Return the entries as candidates that ssh reaches."""
    return tuple(
        Candidate(
            slots=entry.slots,
            max_slots=entry.max_slots,
            node=Node(
                node_rank=place,
                name=entry.host,
                address=entry.host,
                ssh=f"{entry.user}@{entry.host}" if entry.user else entry.host,
                ssh_port=entry.port,
                slots=entry.slots or 0,
            ),
        )
        for place, entry in enumerate(entries)
    )


def _parse(text: str, where: str) -> Iterable[Entry]:
    first, *words = re.sub(r"\s*=\s*", "=", text).split()
    given = _given(words, first)
    parts = list(split(first))
    if any(part.isdigit() for part in parts[1:]):
        raise ValueError(_DEVICES)
    for part in parts:
        yield from _hosts_of(part, given, where)


def _hosts_of(text: str, given: Mapping[str, str], where: str) -> Iterable[Entry]:
    user, at, rest = text.rpartition("@")
    host, number = _host_and_number(rest)
    as_slots = _means_slots(number)
    if at and "user" in given:
        raise ValueError("the user is named twice")
    if number and ("slots" if as_slots else "port") in given:
        raise ValueError(f"the {'number of ranks' if as_slots else 'port'} is named twice")
    user = given.get("user", user)
    if (at or user) and not _USER.fullmatch(user):
        raise ValueError("the part before the @ is not a valid user name")
    port = given.get("port", "" if as_slots else number)
    slots = _count("slots", {**given, "slots": number} if as_slots else given)
    max_slots = _count("max_slots", given)
    if slots is not None and max_slots is not None and slots > max_slots:
        raise ValueError(f"slots={slots} is more than max_slots={max_slots}")
    for name in _hosts(host):
        yield Entry(
            host=name,
            user=user,
            port=_port(port) if port else 0,
            slots=slots,
            max_slots=max_slots,
            where=where,
        )


def _given(words: Iterable[str], host: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            meant = f"; write `{host} slots={word}`" if word.isdigit() else ""
            raise ValueError(f"expected `key=value`, got `{word}`{meant}")
        if key.lower() not in _KEYS:
            near = nearest(key.lower(), _KEYS)
            guess = f"; did you mean `{near}`?" if near else ""
            raise ValueError(f"unknown key `{key}`{guess}")
        if _KEYS[key.lower()] in given:
            raise ValueError(f"`{_KEYS[key.lower()]}` is set twice")
        given[_KEYS[key.lower()]] = value
    return given


def _host_and_number(text: str) -> tuple[str, str]:
    """Split `host:number`; an IPv6 address with a number is in brackets, as in a URI."""
    literal = re.fullmatch(r"\[([0-9A-Fa-f:.]*:[^\]]*)\](?::(.*))?", text)
    if literal:
        return literal.group(1), literal.group(2) or ""
    if text.count(":") > 1:
        return text, ""
    host, _, number = text.partition(":")
    if number == "0":
        raise ValueError(_DEVICES)
    if number == "*":
        raise ValueError(f"expected a number of ranks, got `*`; for all, write `{host}`")
    return host, number


def _means_slots(number: str) -> bool:
    return number.isdigit() and 0 < int(number) < _LEAST_PORT and int(number) != _SSH_PORT


def _hosts(text: str) -> tuple[str, ...]:
    if ":" in text:
        try:
            return (str(ipaddress.IPv6Address(text)),)
        except ValueError:
            raise ValueError(f"`{text}` is not an IPv6 address") from None
    names = tuple(name.removesuffix(".") for name in expand(text))
    for name in names:
        if not _HOST.fullmatch(name):
            range_ = re.sub(r"\{(\d+)\.\.(\d+)\}", r"[\1-\2]", name)
            meant = f"; write `{range_}`" if range_ != name else ""
            raise ValueError(f"`{name}` is not a valid host name{meant}")
    return names


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65_536:
        raise ValueError(f"`{text}` is not a port")
    return int(text)


def _count(key: str, given: Mapping[str, str]) -> int | None:
    text = given.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError(f"`{key}={text}`: expected a number")
    return int(text)


def _added(before: Entry, entry: Entry) -> Entry:
    for name in ("user", "port", "max_slots"):
        ours, theirs = getattr(before, name), getattr(entry, name)
        if ours and theirs and ours != theirs:
            raise ConfigError(
                f"{entry.host} is named with {name} {ours} and with {name} {theirs}",
                context=f"{before.where}, and {entry.where}",
                hint="name it once, or with the same values",
            )
    slots = [1 if each.slots is None else each.slots for each in (before, entry)]
    return Entry(
        host=before.host,
        user=before.user or entry.user,
        port=before.port or entry.port,
        slots=sum(slots),
        max_slots=before.max_slots or entry.max_slots,
        where=before.where,
    )


def _shown(text: str) -> str:
    """Return the text, unless it may contain a password."""
    return "" if re.search(r":[^@\s]*@", text) else f"    {text}"
