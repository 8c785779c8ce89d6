"""The few file operations that checkpoints are made of, and how a file system does them durably.

`Files` is the seam at which tests put a file system that crashes, and where a bucket will fit in:
no rename of folders, no overwrite, no lock, and publication is one exclusive step.
"""

from __future__ import annotations

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
        """Make the content durable and close; an error of either is raised."""

    def abandon(self) -> None:
        """Close without any promise about the content. Never raises."""


class Reader(Protocol):
    """An existing file being read."""

    def read_into(self, offset: int, parts: Sequence[memoryview]) -> int:
        """Fill the parts from `offset` on; return how many bytes there were."""

    def close(self) -> None: ...


class Files(Protocol):
    """Where checkpoints lie.

    Small on purpose: each method is one thing that either is atomic or that the protocol does not
    need to be. `publish` is the only way a name comes to exist with content that a reader may
    trust.
    """

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return name -> bytes of everything in `folder`; empty when there is no such folder."""

    def read(self, path: Path) -> bytes: ...

    def free_bytes(self, folder: Path) -> int: ...

    def make_folder(self, path: Path) -> None:
        """Create the folder and its parents; it is no error when it is there."""

    def create(self, path: Path) -> Writer:
        """Start a new file; FileExistsError when the name is taken."""

    def open(self, path: Path) -> Reader: ...

    def publish(self, temporary: Path, path: Path) -> None:
        """Give the file its final name.

        FileExistsError when the name is taken; then `temporary` stays.
        """

    def sync_folder(self, path: Path) -> None:
        """Make the names in the folder durable."""

    def remove(self, path: Path) -> None:
        """Remove a file; it is no error when it is gone."""

    def remove_folder(self, path: Path) -> None:
        """Remove a folder with all it holds; it is no error when it is gone."""


class PosixFiles:
    """A local or shared file system."""

    def sizes(self, folder: Path) -> dict[str, int]:
        found = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        found[entry.name] = entry.stat().st_size
                    except FileNotFoundError:  # went away between the two calls
                        continue
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return found

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def free_bytes(self, folder: Path) -> int:
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

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
            if (
                error.errno != errno.EINVAL
            ):  # some network file systems refuse: there names are durable at once
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
        os.close(descriptor)  # on NFS this is where a full disk may show: not swallowed

    def abandon(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.close(descriptor)
            except OSError:
                return


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
    """Return what is left of `parts` once their first `count` bytes are filled."""
    for index, part in enumerate(parts):
        if count < part.nbytes:
            return [part[count:], *parts[index + 1 :]]
        count -= part.nbytes
    return []


def _rename_exclusive(temporary: Path, path: Path) -> None:
    """Rename without replacing, for file systems that know no hard links."""
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename is not None:
        source, target = os.fsencode(temporary), os.fsencode(path)
        if rename(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NO_LINK:
            raise OSError(code, os.strerror(code), str(path))
    if path.exists():  # neither primitive is there: generations still keep two writers apart
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    temporary.rename(path)
