"""The labs on this machine: one folder each, with a record of its owner."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab.commands import LabError, command

LABS = Path("/var/tmp/launcher-labs")
_MAX_LABS = 250
_RECORD = "lab.json"


@dataclass(frozen=True)
class ProcessId:
    """A unique process: the kernel may reuse the pid alone."""

    pid: int
    started: int  # clock ticks since this machine's boot

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        # The start time is the 22nd field; the second, a name in brackets, may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        try:
            return ProcessId.of(self.pid) == self and not self._is_zombie
        except (FileNotFoundError, ProcessLookupError):
            return False

    @property
    def _is_zombie(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@dataclass(frozen=True)
class Record:
    """What another process needs to use a lab or to remove it."""

    name: str
    prefix: str
    hosts: int
    slurm: bool
    gpus: int
    max_startups: str | None
    owner: ProcessId | None  # None: made by hand, stays until `python -m tests.lab down`

    @property
    def folder(self) -> Path:
        return LABS / self.name

    @property
    def abandoned(self) -> bool:
        return self.owner is not None and not self.owner.alive

    def write(self) -> None:
        # Only for root: the folder contains keys. Hosts reach `shared` through mounts.
        self.folder.mkdir(mode=0o700)
        (self.folder / _RECORD).write_text(json.dumps(asdict(self)))


@contextmanager
def locked() -> Iterator[None]:
    """Block other labs while one takes a name or removes leftovers."""
    LABS.mkdir(mode=0o755, exist_ok=True)
    with (LABS / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def all_records() -> list[Record]:
    """Return the record of every lab. Call it `locked`, or a record may be incomplete."""
    records = (_read(path) for path in sorted(LABS.glob(f"*/{_RECORD}")))
    return [record for record in records if record is not None]


def free_name() -> tuple[str, str]:
    """Return an unused name and an unused /24 prefix. Call it `locked`."""
    taken = _networks_of_this_machine()
    for number in range(_MAX_LABS):
        name, prefix = f"lab{number}", f"10.78.{number}"
        in_use = (LABS / name).exists() or any(Path("/run/netns").glob(f"{name}-*"))
        if not in_use and not any(
            ipaddress.ip_network(f"{prefix}.0/24").overlaps(n) for n in taken
        ):
            return name, prefix
    raise LabError(f"{_MAX_LABS} labs exist already; see {LABS}")


def this_process() -> ProcessId:
    return ProcessId.of(os.getpid())


def _read(path: Path) -> Record | None:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:  # it is being removed
        return None
    owner = values.pop("owner")
    return Record(**values, owner=ProcessId(**owner) if owner else None)


def _networks_of_this_machine() -> list[ipaddress.IPv4Network]:
    return [
        ipaddress.IPv4Network((address["local"], address["prefixlen"]), strict=False)
        for link in json.loads(command("ip", "-json", "-4", "address"))
        for address in link["addr_info"]
    ]
