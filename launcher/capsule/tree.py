"""Names and contents as one value, whose digest names the copy."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from launcher.capsule.names import Listed
from launcher.errors import ConfigError

_BLOCK_BYTES = 1 << 20
_TRIES = 3
_READERS = 8


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file or link of a tree."""

    path: str
    sha256: str = ""
    """Of a file's content; empty for a link."""
    target: str = ""
    """Where a link leads; empty for a file."""
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What a copy consists of."""

    name: str
    """Of its top folder."""
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        """Equal for equal names, modes and contents, wherever and whenever they are read."""
        whole = hashlib.sha256(os.fsencode(self.name))
        for item in self.items:
            fields = (item.path, item.sha256, item.target, "x" if item.executable else "")
            for field in fields:
                whole.update(b"\0" + os.fsencode(field))
            whole.update(b"\n")
        return whole.hexdigest()


def read(folder: Path, names: Iterable[Listed], *, name: str) -> Tree:
    """Return the tree of these names in `folder`; what is gone meanwhile is left out."""
    return _build(folder, names, name=name, read_file=lambda path, _: _digest_of(path))


def copy(folder: Path, names: Iterable[Listed], *, name: str, to: Path) -> Tree:
    """Copy these names from `folder` to `to`, and return the tree of the copies."""

    def copy_file(path: Path, relative: str) -> str:
        target = to / relative
        digest = _copied(path, target)
        # Read-only: whoever follows a traceback to here must not edit in vain.
        target.chmod(path.stat().st_mode & 0o555 | 0o400)
        return digest

    listed = list(names)
    for parent in {(to / each.path).parent for each in listed}:
        parent.mkdir(parents=True, exist_ok=True)
    tree = _build(folder, listed, name=name, read_file=copy_file)
    for item in tree.items:
        if item.target:
            (to / item.path).symlink_to(item.target)
    return tree


def _build(
    folder: Path, names: Iterable[Listed], *, name: str, read_file: Callable[[Path, str], str]
) -> Tree:
    """Make a tree; `read_file` returns the digest of a file's content."""

    def item(listed: Listed) -> Item | None:
        path = folder / listed.path
        try:
            if listed.is_link:
                return Item(path=listed.path, target=str(path))
            if path.is_symlink():
                return Item(path=listed.path, target=_target(folder, path))
            return Item(
                path=listed.path,
                sha256=read_file(path, listed.path),
                executable=_is_executable(path),
            )
        except FileNotFoundError:
            return None
        except PermissionError as error:
            if error.filename != str(path):  # it is the copy that cannot be written
                raise
            raise _unreadable(path, error) from error

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(item, names))
    return Tree(name=name, items=tuple(each for each in found if each is not None))


def _digest_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copied(source: Path, target: Path) -> str:
    """Copy a file with its time; return the digest of the copy.

    A file that is being written is copied again, a few times: one that never rests is a log, and
    which part of it is taken does not matter.
    """
    for _ in range(_TRIES):
        before = source.stat()
        digest = hashlib.sha256()
        with source.open("rb") as file, target.open("wb") as copy:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                copy.write(block)
        after = source.stat()
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            break
    with contextlib.suppress(OSError):  # some file systems keep no times
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    return digest.hexdigest()


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def _target(folder: Path, link: Path) -> str:
    """Return where a link has to lead from the copy: within it, or to the same place outside."""
    leads_to = Path(os.path.normpath(link.parent / link.readlink()))
    if leads_to.is_relative_to(folder):
        return os.path.relpath(leads_to, link.parent)
    return str(leads_to)


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"`{path}` belongs to the code of the run but cannot be read: {error.strerror}",
        hint="make it readable, let git ignore it, or run with code=shared",
    )
