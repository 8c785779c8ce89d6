"""The sockets on which processes of a run listen, and what docs/ports.md says about them."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["documented", "listening", "observed"]

_STATE_LISTEN = "0A"
_PAGE = Path(__file__).parents[1] / "docs" / "ports.md"
_MPI = {"mpirun": "mpirun", "orterun": "mpirun", "prterun": "mpirun"} | {
    "orted": "MPI daemon",
    "prted": "MPI daemon",
}

Row = tuple[str, str]
"""A process, and where it listens, in the words of the table."""


def documented(backend: str, *, several_nodes: bool) -> set[Row]:
    """Return the rows of docs/ports.md for one backend."""
    table = _PAGE.read_text(encoding="utf-8").partition("Before a run")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {
        (row[1], row[3])
        for row in cells
        if row
        and f"`{backend}`" in row[0].split(", ")
        and (several_nodes or "several nodes" not in row[0])
    }


def observed(run_folder: Path, pids: Iterable[int], addresses: Iterable[str]) -> set[Row]:
    """Return which of the processes of attempt 1, all of this host, listen where."""
    files = (run_folder / "attempts" / "0001" / "ranks").glob("*.json")
    records = [json.loads(path.read_text()) for path in files]
    ranks = {each["pid"] for each in records if each["host"] == socket.gethostname()}
    return {
        (_kind(pid, ranks), _where(address, set(addresses)))
        for (address, _), pids in listening(pids).items()
        for pid in pids
    }


def listening(pids: Iterable[int]) -> dict[tuple[str, int], set[int]]:
    """Return the addresses and ports at which `pids` listen for TCP, and which of them do."""
    found: dict[tuple[str, int], set[int]] = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # it may have just ended
            sockets = _of_network(pid)
            for inode in _inodes(pid):
                if inode in sockets:
                    found.setdefault(sockets[inode], set()).add(pid)
    return found


def _kind(pid: int, ranks: set[int]) -> str:
    if pid in ranks:
        return "rank"
    name = Path(f"/proc/{pid}/comm").read_text().strip().partition("_")[0]
    return _MPI.get(name, "agent of the first node")


def _where(address: str, nodes: set[str]) -> str:
    if ipaddress.ip_address(address).is_unspecified:
        return "all addresses"
    return "address of its node" if address in nodes else address


def _of_network(pid: int) -> dict[str, tuple[str, int]]:
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return {words[9]: _parse(words[1]) for words in lines if words[3] == _STATE_LISTEN}


def _parse(text: str) -> tuple[str, int]:
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
