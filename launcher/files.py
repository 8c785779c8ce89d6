"""Replacing a file as a whole, and making it durable.

Ranks record their end with it, after the program. So it does not use what a program may have
replaced, such as `open` or `os.replace`: the names are bound at import.
"""

from __future__ import annotations

import contextlib
import errno
import os
from os import close, fsync, unlink, urandom, write
from os import open as open_
from os import replace as rename
from pathlib import Path

__all__ = ["replace", "sync_file", "sync_folder"]


def replace(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Replace the file at `path`: a reader sees the old content or the new, never a part of it.

    With `durable`, the file is on disk when this returns.
    """
    beside = path.with_name(f".{path.name}.{urandom(4).hex()}")
    try:
        _write(beside, _bytes(content))
        if durable:
            sync_file(beside)
        rename(beside, path)  # noqa: PTH105 - see above
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            unlink(beside)  # noqa: PTH108 - see above
        raise
    if durable:
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Return once the content of `path` is on disk."""
    descriptor = open_(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        close(descriptor)


def sync_folder(path: Path) -> None:
    """Return once the names in `path` are on disk, where the file system can promise that."""
    try:
        sync_file(path)
    except OSError as error:
        # Some network and FUSE file systems refuse fsync on folders; then their server decides.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise


def _write(path: Path, content: bytes) -> None:
    descriptor = open_(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[write(descriptor, rest) :]
    finally:
        close(descriptor)


def _bytes(content: str | bytes) -> bytes:
    """Return a text as UTF-8; a file name that is not UTF-8 keeps its bytes."""
    return content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
