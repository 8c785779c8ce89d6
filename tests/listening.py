"""The sockets on which processes listen, read from /proc."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["Listening", "listening"]

_STATE_LISTEN = "0A"
Listening = tuple[str, int]
"""Address and port."""


def listening(pids: Iterable[int]) -> dict[Listening, set[int]]:
    """Return where `pids` listen for TCP, in their own network, and which of them do."""
    found: dict[Listening, set[int]] = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # it may have just ended
            sockets = _of_network(pid)
            for inode in _inodes(pid):
                if inode in sockets:
                    found.setdefault(sockets[inode], set()).add(pid)
    return found


def _of_network(pid: int) -> dict[str, Listening]:
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return {words[9]: _parse(words[1]) for words in lines if words[3] == _STATE_LISTEN}


def _parse(text: str) -> Listening:
    """Read an address as the kernel prints it: words of four bytes, each in reverse order."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    packed = b"".join(raw[place : place + 4][::-1] for place in range(0, len(raw), 4))
    return str(ipaddress.ip_address(packed)), int(port, 16)


def _inodes(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1]
