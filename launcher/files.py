"""Replacing a file as a whole, and making it durable."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["replace", "sync_file", "sync_folder"]


def replace(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Replace the file at `path`: a reader sees the old content or the new, never a part of it.

    With `durable`, the file is on disk when this returns.
    """
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        beside.write_bytes(_bytes(content))
        if durable:
            sync_file(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Return once the content of `path` is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Return once the names in `path` are on disk, where the file system can promise that."""
    try:
        sync_file(path)
    except OSError as error:
        # Some network and FUSE file systems refuse fsync on folders; then their server decides.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise


def _bytes(content: str | bytes) -> bytes:
    """Return a text as UTF-8; a file name that is not UTF-8 keeps its bytes."""
    return content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
