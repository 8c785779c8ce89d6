"""The mounted file system below a run: is it writable, is there room, is it on disk yet."""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from launcher.files import sync_file

__all__ = [
    "DiskProblem",
    "DiskTrouble",
    "classify",
    "free_bytes",
    "is_disk_full",
    "probe_writable",
]


class DiskTrouble(StrEnum):
    """Why a folder cannot be written, in the words that people use."""

    NOT_FOUND = "not found"
    NOT_A_FOLDER = "not a folder"
    PERMISSION = "permission denied"
    READ_ONLY = "read-only"
    DISK_FULL = "disk full"
    OTHER = "not writable"


_TROUBLES = {
    errno.ENOENT: DiskTrouble.NOT_FOUND,
    errno.ENOTDIR: DiskTrouble.NOT_A_FOLDER,
    errno.EEXIST: DiskTrouble.NOT_A_FOLDER,
    errno.EACCES: DiskTrouble.PERMISSION,
    errno.EPERM: DiskTrouble.PERMISSION,
    errno.EROFS: DiskTrouble.READ_ONLY,
    errno.ENOSPC: DiskTrouble.DISK_FULL,
    errno.EDQUOT: DiskTrouble.DISK_FULL,
}

_HINTS = {
    DiskTrouble.NOT_FOUND: "is it mounted on this machine? give another folder: `storage.root=...`",
    DiskTrouble.NOT_A_FOLDER: "a file stands in the way; give another folder: `storage.root=...`",
    DiskTrouble.PERMISSION: "take a folder of your own: `storage.root=$HOME/outputs`",
    DiskTrouble.READ_ONLY: "it is mounted read-only; give another folder: `storage.root=...`",
    DiskTrouble.DISK_FULL: "make room, or give another folder: `storage.root=...`",
    DiskTrouble.OTHER: "give another folder: `storage.root=...`",
}


@dataclass(frozen=True, kw_only=True)
class DiskProblem:
    """What is wrong with a folder, and what to do about it."""

    trouble: DiskTrouble
    path: Path
    detail: str
    """What the operating system said."""

    @property
    def message(self) -> str:
        return f"cannot write to `{self.path}`: {self.trouble}"

    @property
    def hint(self) -> str:
        return _HINTS[self.trouble]


def classify(error: OSError) -> DiskTrouble:
    """Return what an error of the operating system means for somebody who wants to write."""
    return _TROUBLES.get(error.errno or 0, DiskTrouble.OTHER)


def is_disk_full(error: BaseException) -> bool:
    """Tell whether `error` says that there is no room left, on the disk or in a quota."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, OSError) and error.errno in full


def probe_writable(
    root: Path, *, write: Callable[[Path], None] | None = None
) -> DiskProblem | None:
    """Create and remove a file in `root`, which is created when missing; return what went wrong.

    Permission bits alone do not tell (root squash, quotas, read-only mounts), so it really writes.
    `write` is what creates the file, for tests.
    """
    nonce = root / f".launcher-probe-{uuid.uuid4().hex}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        try:
            (write or _write_probe)(nonce)
        finally:
            nonce.unlink(missing_ok=True)
    except OSError as error:
        return DiskProblem(trouble=classify(error), path=root, detail=str(error))
    return None


def _write_probe(path: Path) -> None:
    path.write_bytes(b"launcher" * 512)
    sync_file(path)


def free_bytes(path: Path) -> int:
    """Return how many bytes this user can still write at `path`, which need not exist yet."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free
