"""The mounted file system of a run: is it writable, is there space, is the content on disk."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = [
    "DiskProblem",
    "DiskProblemKind",
    "classify",
    "free_bytes",
    "is_disk_full",
]


class DiskProblemKind(StrEnum):
    """Why a folder cannot be written to."""

    NOT_FOUND = "not found"
    NOT_A_FOLDER = "not a folder"
    PERMISSION = "permission denied"
    READ_ONLY = "read-only"
    DISK_FULL = "disk full"
    OTHER = "not writable"


_KINDS = {
    errno.ENOENT: DiskProblemKind.NOT_FOUND,
    errno.ENOTDIR: DiskProblemKind.NOT_A_FOLDER,
    errno.EEXIST: DiskProblemKind.NOT_A_FOLDER,
    errno.EACCES: DiskProblemKind.PERMISSION,
    errno.EPERM: DiskProblemKind.PERMISSION,
    errno.EROFS: DiskProblemKind.READ_ONLY,
    errno.ENOSPC: DiskProblemKind.DISK_FULL,
    errno.EDQUOT: DiskProblemKind.DISK_FULL,
}

_HINTS = {
    DiskProblemKind.NOT_FOUND: "check that it is mounted here, or set another `storage.root=...`",
    DiskProblemKind.NOT_A_FOLDER: "a file has this name; set another `storage.root=...`",
    DiskProblemKind.PERMISSION: "use a folder of your own: `storage.root=$HOME/outputs`",
    DiskProblemKind.READ_ONLY: "it is mounted read-only; set another `storage.root=...`",
    DiskProblemKind.DISK_FULL: "free space, or set another `storage.root=...`",
    DiskProblemKind.OTHER: "set another `storage.root=...`",
}


@dataclass(frozen=True, kw_only=True)
class DiskProblem:
    """What is wrong with a folder, and what to do about it."""

    kind: DiskProblemKind
    path: Path
    detail: str
    """The error of the operating system."""

    @property
    def message(self) -> str:
        return f"cannot write to `{self.path}`: {self.kind}"

    @property
    def hint(self) -> str:
        return _HINTS[self.kind]


def classify(error: OSError) -> DiskProblemKind:
    """Return why an error of the operating system prevents writing."""
    return _KINDS.get(error.errno or 0, DiskProblemKind.OTHER)


def is_disk_full(error: BaseException) -> bool:
    """Return whether `error` says that the disk, or a quota, is full."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, OSError) and error.errno in full


def free_bytes(path: Path) -> int:
    """Return how many bytes this user can still write at `path`, which may not exist yet."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free
