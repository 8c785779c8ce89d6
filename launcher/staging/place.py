"""The folders of staged and partial items, and which process works on which.

::

    <root>/staged/<name>-<key>/             a staged folder, with its manifest
    <root>/staged/.partial-<name>-<key>/    a partial one
        claim-000002     its owner; created exclusively, touched while the owner lives
        work-000002/     files/ will be published, scratch/ makes it resumable

This does not use `flock`, which on shared file systems may work on one machine only, or not at all.
The owner of the highest claim works; others wait while it lives. If it is gone, exactly one other
process can create the next claim. It renames the work folder to its own number, so nothing is
transferred twice. An owner that was only suspended then finds that its folder is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher import processes
from launcher.files import replace
from launcher.storage import Stopped

__all__ = ["Owner", "Partial", "acquire", "sweep"]

log = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
STALE_S = 180.0
"""An owner on another machine without a heartbeat for so long is gone. NFS may show times that are
a minute old."""
_FREE = "free"
_POLL_S = 0.1


@dataclass(frozen=True)
class Owner:
    """Identifies a process, so that others can find out whether it lives."""

    machine: str
    """Digest of host name, boot and process namespace, within which process ids are unique."""
    pid: int
    started: str
    """Start time of the process, because process ids are reused."""

    @classmethod
    def me(cls) -> Owner:
        return cls(_machine(), os.getpid(), _started(os.getpid()) or "0")

    @property
    def label(self) -> str:
        return f"{self.machine}~{self.pid}~{self.started}"

    @classmethod
    def of(cls, label: str) -> Owner | None:
        match = re.fullmatch(r"([0-9a-f]+)~([0-9]+)~([0-9]+)", label)
        return cls(match[1], int(match[2]), match[3]) if match else None

    def is_here(self) -> bool:
        """Return whether the process belongs to this machine."""
        return self.machine == _machine()

    def lives_here(self) -> bool:
        """Return whether the process runs on this machine."""
        return _started(self.pid) == self.started


@dataclass(frozen=True)
class Partial:
    """A partial item that this process owns, until it is published or released."""

    folder: Path
    number: int

    @property
    def path(self) -> Path:
        return self.folder / f"work-{self.number:06d}"

    @property
    def claim(self) -> Path:
        return self.folder / f"claim-{self.number:06d}"

    @property
    def files(self) -> Path:
        return self.path / "files"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    def is_lost(self) -> bool:
        """Return whether another process took it, because this one seemed to be gone."""
        return not self.path.exists()

    def release(self) -> None:
        """Allow another process to take it."""
        with contextlib.suppress(OSError):
            replace(self.claim, _FREE, durable=True)

    def beat(self) -> None:
        """Show other machines that this process lives."""
        with contextlib.suppress(OSError):
            os.utime(self.claim)


def acquire(
    target: Path, *, published: Callable[[], bool], stop: threading.Event
) -> Partial | None:
    """Return a folder to work in, or None once another process has published `target`.

    Waits while another process works on it. `published` returns whether `target` is complete.

    Raises:
        Stopped: `stop` was set while waiting.
    """
    folder = _partial_of(target)
    waiting = False
    while not published():
        newest = _newest_claim(folder)
        if newest is None or _is_free(folder / f"claim-{newest:06d}"):
            partial = _take(folder, (newest or 0) + 1)
            if partial is None:
                continue
            if not published():
                return partial
            break
        if not waiting:
            log.info("`%s` is being staged by another process; waiting", target.name)
            waiting = True
        if stop.wait(_POLL_S):
            raise Stopped
    sweep(target)
    return None


def sweep(target: Path) -> None:
    """Delete the partial folder of `target`, which is published now."""
    aside = target.with_name(f".done-{target.name}.{uuid.uuid4().hex[:8]}")
    with contextlib.suppress(OSError):
        # atomically, so that no other process finds half of it
        _partial_of(target).rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _partial_of(target: Path) -> Path:
    return target.with_name(f".partial-{target.name}")


def _newest_claim(folder: Path) -> int | None:
    return max(_numbers(folder, "claim"), default=None)


def _numbers(folder: Path, kind: str) -> list[int]:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []
    matches = (re.fullmatch(rf"{kind}-([0-9]+)", name) for name in names)
    return [int(match[1]) for match in matches if match]


def _take(folder: Path, number: int) -> Partial | None:
    """Claim `number` and create its work folder. Return None if another process was faster."""
    partial = Partial(folder, number)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _create(partial.claim, Owner.me().label)
    except (FileExistsError, FileNotFoundError):
        return None  # claimed or deleted by another process
    try:
        left = [folder / f"work-{old:06d}" for old in sorted(_numbers(folder, "work"))]
        if left:
            left[-1].rename(partial.path)
            log.info("resuming the partial transfer in `%s`", folder.name)
        else:
            partial.path.mkdir()
    except FileNotFoundError:
        partial.release()  # the previous owner was slow, and took it just now
        return None
    return None if _newest_claim(folder) != number else partial


def _create(path: Path, content: str) -> None:
    """Create `path` atomically with its content. Raises FileExistsError if it exists."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    beside.write_text(content, encoding="ascii")
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:
        # no hard links here. A claim that is empty for a moment counts as alive
        with path.open("x", encoding="ascii") as file:
            file.write(content)
    finally:
        beside.unlink(missing_ok=True)


def _is_free(claim: Path) -> bool:
    """Return whether the owner of `claim` is gone."""
    try:
        label = claim.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return False  # deleted just now; the next call decides
    owner = Owner.of(label)
    if label == _FREE:
        return True
    if owner is not None and owner.is_here():
        return not owner.lives_here()
    return _age_s(claim) > STALE_S


def _machine() -> str:
    parts = [socket.gethostname(), processes.boot_id()]
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()[:10]


def _started(pid: int) -> str | None:
    process = processes.find(pid)
    return process.started if process else None


def _age_s(claim: Path) -> float:
    """Return the seconds since the last heartbeat, by the clock of the file system."""
    probe = claim.with_name(f".now-{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        return now - claim.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)
