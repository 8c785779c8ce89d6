"""The file operations that checkpoints need, and their durable implementation on a file system.

Tests implement `Files` with a file system that crashes. A bucket could implement it too: it has no
rename of folders, no overwrite and no lock, and publication is one exclusive step.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_NO_LINK = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})
_BUFFERS_PER_CALL = 512  # below IOV_MAX (1024) everywhere


class Writer(Protocol):
    """A new file being written."""

    def write(self, parts: Sequence[memoryview]) -> None:
        """Append the parts, all of them."""

    def close(self) -> None:
        """Make the content durable and close the file. Raises if either fails."""

    def abandon(self) -> None:
        """Close the file; its content is undefined. Never raises."""


class Reader(Protocol):
    """An existing file being read."""

    def read_into(self, offset: int, parts: Sequence[memoryview]) -> int:
        """Fill the parts from `offset`, and return how many bytes the file had for them."""

    def close(self) -> None: ...


class Files(Protocol):
    """The storage of checkpoints.

    It is small on purpose: each method is atomic, or the protocol does not need it to be. A reader
    may trust only the content of files that `publish` created.
    """

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return name -> bytes of everything in `folder`; empty if the folder does not exist."""

    def read(self, path: Path) -> bytes: ...

    def free_bytes(self, folder: Path) -> int: ...

    def make_folder(self, path: Path) -> None:
        """Create the folder and its parents, unless it exists."""

    def create(self, path: Path) -> Writer:
        """Start a new file. Raises FileExistsError if the name is taken."""

    def open(self, path: Path) -> Reader: ...

    def publish(self, temporary: Path, path: Path) -> None:
        """Give the file its final name.

        Raises FileExistsError if the name is taken; `temporary` then stays.
        """

    def sync_folder(self, path: Path) -> None:
        """Make the names in the folder durable."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it exists."""

    def remove_folder(self, path: Path) -> None:
        """Remove a folder and its content, if it exists."""


class PosixFiles:
    """A local or shared file system."""

    def sizes(self, folder: Path) -> dict[str, int]:
        sizes = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # removed between the two calls
                        sizes[entry.name] = entry.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return sizes

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def free_bytes(self, folder: Path) -> int:
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize

    def make_folder(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_folder(path.parent)

    def create(self, path: Path) -> Writer:
        return _PosixWriter(path)

    def open(self, path: Path) -> Reader:
        return _PosixReader(path)

    def publish(self, temporary: Path, path: Path) -> None:
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            _rename_exclusive(temporary, path)
        else:
            self.remove(temporary)

    def sync_folder(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # some network file systems do not support it; their names are durable immediately
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)


class _PosixWriter:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def write(self, parts: Sequence[memoryview]) -> None:
        for part in parts:
            rest = part
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # must not be suppressed: NFS may report a full disk here

    def abandon(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class _PosixReader:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read_into(self, offset: int, parts: Sequence[memoryview]) -> int:
        done = 0
        for start in range(0, len(parts), _BUFFERS_PER_CALL):
            batch = parts[start : start + _BUFFERS_PER_CALL]
            count = self._fill(offset + done, batch)
            done += count
            if count < sum(part.nbytes for part in batch):
                break
        return done

    def _fill(self, offset: int, parts: Sequence[memoryview]) -> int:
        rest = [part for part in parts if part.nbytes]
        done = 0
        while rest:
            count = os.preadv(self._descriptor, rest, offset + done)
            if count == 0:
                break
            done += count
            rest = _after(rest, count)
        return done

    def close(self) -> None:
        os.close(self._descriptor)


def _after(parts: list[memoryview], count: int) -> list[memoryview]:
    """Return what remains of `parts` after their first `count` bytes."""
    for index, part in enumerate(parts):
        if count < part.nbytes:
            return [part[count:], *parts[index + 1 :]]
        count -= part.nbytes
    return []


def _rename_exclusive(temporary: Path, path: Path) -> None:
    """Rename without replacing, for file systems without hard links."""
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename is not None:
        source, target = os.fsencode(temporary), os.fsencode(path)
        if rename(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NO_LINK:
            raise OSError(code, os.strerror(code), str(path))
    if path.exists():  # not exclusive, but generations keep two writers apart
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    temporary.rename(path)
