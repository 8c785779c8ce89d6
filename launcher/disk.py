"""What an error of a file system means: the one place that turns an `OSError` into a sentence."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

__all__ = ["DiskProblem", "DiskProblemKind", "free_bytes", "is_disk_full"]


class DiskProblemKind(StrEnum):
    """Why a file or folder cannot be used."""

    NOT_FOUND = "not found"
    NOT_A_FOLDER = "not a folder"
    PERMISSION = "permission denied"
    READ_ONLY = "read-only"
    DISK_FULL = "disk full"
    QUOTA = "disk full: the quota is used up"
    FILE_SIZE = "disk full: a limit on file sizes is hit"
    OPEN_FILES = "too many open files"
    LONG_NAME = "the name is too long"
    LINK_LOOP = "a link leads back to itself"
    OTHER = "not writable"


_KINDS = {
    errno.ENOENT: DiskProblemKind.NOT_FOUND,
    errno.ENOTDIR: DiskProblemKind.NOT_A_FOLDER,
    errno.EEXIST: DiskProblemKind.NOT_A_FOLDER,
    errno.EACCES: DiskProblemKind.PERMISSION,
    errno.EPERM: DiskProblemKind.PERMISSION,
    errno.EROFS: DiskProblemKind.READ_ONLY,
    errno.ENOSPC: DiskProblemKind.DISK_FULL,
    errno.EDQUOT: DiskProblemKind.QUOTA,
    errno.EFBIG: DiskProblemKind.FILE_SIZE,
    errno.EMFILE: DiskProblemKind.OPEN_FILES,
    errno.ENFILE: DiskProblemKind.OPEN_FILES,
    errno.ENAMETOOLONG: DiskProblemKind.LONG_NAME,
    errno.ELOOP: DiskProblemKind.LINK_LOOP,
}
_FULL = (DiskProblemKind.DISK_FULL, DiskProblemKind.QUOTA, DiskProblemKind.FILE_SIZE)

_HINTS = {
    DiskProblemKind.NOT_FOUND: "check that it is mounted here, or set another `storage.root=...`",
    DiskProblemKind.NOT_A_FOLDER: "a file has this name; set another `storage.root=...`",
    DiskProblemKind.PERMISSION: "use a folder of your own: `storage.root=$HOME/outputs`",
    DiskProblemKind.READ_ONLY: "it is mounted read-only; set another `storage.root=...`",
    DiskProblemKind.DISK_FULL: "free space, or set another `storage.root=...`",
    DiskProblemKind.QUOTA: "delete files of yours (`quota -s`), or set another `storage.root=...`",
    DiskProblemKind.FILE_SIZE: "raise the limit (`ulimit -f unlimited`)",
    DiskProblemKind.OPEN_FILES: "raise the limit (`ulimit -n 65536`)",
    DiskProblemKind.LONG_NAME: "set a shorter `storage.root=...` or `run_id=...`",
    DiskProblemKind.LINK_LOOP: "correct the symbolic link, or set another `storage.root=...`",
    DiskProblemKind.OTHER: "check this storage, or set another `storage.root=...`",
}


@dataclass(frozen=True, kw_only=True)
class DiskProblem:
    """What is wrong with a file or folder, and what to do about it."""

    kind: DiskProblemKind
    path: Path
    detail: str
    """The error of the operating system."""

    @classmethod
    def of(cls, error: OSError, path: Path) -> Self:
        """Return what `error`, which occurred in the use of `path`, means."""
        return cls(
            kind=_KINDS.get(error.errno or 0, DiskProblemKind.OTHER),
            path=path,
            detail=str(error),
        )

    @property
    def reason(self) -> str:
        """Why, in a few words."""
        return self.detail if self.kind is DiskProblemKind.OTHER else str(self.kind)

    @property
    def message(self) -> str:
        # The others can also be met in reading.
        writing = self.kind in (*_FULL, DiskProblemKind.READ_ONLY)
        return f"cannot {'write to' if writing else 'use'} `{self.path}`: {self.reason}"

    @property
    def hint(self) -> str:
        return _HINTS[self.kind]


def is_disk_full(error: BaseException) -> bool:
    """Return whether `error` says that the disk, or a quota, is full."""
    return isinstance(error, OSError) and _KINDS.get(error.errno or 0) in _FULL


def free_bytes(path: Path) -> int:
    """Return how many bytes this user can still write at `path`, which may not exist yet."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free
