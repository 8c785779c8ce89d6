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
from launcher.specs.hostlist import expand

EXPECTED = "`host`, `host slots=8`, `user@host:2222 slots=8` or `gpu[01-16] slots=8`"

_KEYS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("slots", "count", "cpus", "cores"), "slots"),
        **dict.fromkeys(("max_slots", "max-slots", "slots_max", "slots-max"), "max_slots"),
        **dict.fromkeys(("user", "username", "user_name", "user-name"), "user"),
        "port": "port",
    }
)
"""Key of another tool -> our key."""

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@\\-]*\$?")
_LEAST_PORT = 100
"""`host:8` means 8 ranks for Horovod and MPICH, so low numbers except 22 are refused."""


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
        before = merged.get(entry.host)
        merged[entry.host] = _added(before, entry) if before else entry
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
    given = _given(words)
    user, at, rest = first.rpartition("@")
    host, port = _host_and_port(rest)
    if at and "user" in given:
        raise ValueError("the user is named twice")
    if port and "port" in given:
        raise ValueError("the port is named twice")
    user = given.get("user", user)
    if (at or user) and not _USER.fullmatch(user):
        raise ValueError("the part before the @ is not a valid user name")
    port_text = given.get("port", port)
    slots = _count("slots", given)
    max_slots = _count("max_slots", given)
    if slots is not None and max_slots is not None and slots > max_slots:
        raise ValueError(f"slots={slots} is more than max_slots={max_slots}")
    for name in _hosts(host):
        yield Entry(
            host=name,
            user=user,
            port=_port(port_text, certain="port" in given, host=name) if port_text else 0,
            slots=slots,
            max_slots=max_slots,
            where=where,
        )


def _given(words: Iterable[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"expected `key=value`, got `{word}`")
        if key.lower() not in _KEYS:
            near = nearest(key.lower(), _KEYS)
            guess = f"; did you mean `{near}`?" if near else ""
            raise ValueError(f"unknown key `{key}`{guess}")
        if _KEYS[key.lower()] in given:
            raise ValueError(f"`{_KEYS[key.lower()]}` is set twice")
        given[_KEYS[key.lower()]] = value
    return given


def _host_and_port(text: str) -> tuple[str, str]:
    """Split `host:port`; an IPv6 address with a port is in brackets, as in a URI."""
    literal = re.fullmatch(r"\[([0-9A-Fa-f:.]*:[^\]]*)\](?::(.*))?", text)
    if literal:
        return literal.group(1), literal.group(2) or ""
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    if "," in port:
        raise ValueError(
            "devices cannot be chosen after a colon; set CUDA_VISIBLE_DEVICES on that node instead"
        )
    return host, port


def _hosts(text: str) -> tuple[str, ...]:
    if ":" in text:
        try:
            return (str(ipaddress.IPv6Address(text)),)
        except ValueError:
            raise ValueError(f"`{text}` is not an IPv6 address") from None
    names = expand(text)
    for name in names:
        if not _HOST.fullmatch(name):
            raise ValueError(f"`{name}` is not a valid host name")
    return names


def _port(text: str, *, certain: bool, host: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65_536:
        raise ValueError(f"`{text}` is not a port")
    if not certain and int(text) < _LEAST_PORT and int(text) != 22:
        raise ValueError(
            f"`{host}:{text}` can mean a port or a number of ranks; "
            f"write `{host} slots={text}` or `{host} port={text}`"
        )
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
        host=entry.host,
        user=before.user or entry.user,
        port=before.port or entry.port,
        slots=sum(slots),
        max_slots=before.max_slots or entry.max_slots,
        where=before.where,
    )


def _shown(text: str) -> str:
    """Return the text, unless it may contain a password."""
    return "" if re.search(r":[^@\s]*@", text) else f"    {text}"
