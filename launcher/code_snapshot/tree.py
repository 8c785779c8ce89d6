"""Names and contents of a project as one value; its digest names the snapshot."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigError

_BLOCK_BYTES = 1 << 20
_TRIES = 3
_READERS = 8


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One name in a project."""

    path: str
    """Relative to the project, with `/`."""
    is_link: bool = False
    """Becomes a link to its current place."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file or link of a tree."""

    path: str
    sha256: str = ""
    """Of a file's content; empty for a link."""
    target: str = ""
    """Target of a link; empty for a file."""
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The content of a snapshot."""

    name: str
    """Of the top folder."""
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
    """Return the tree of these names in `folder`; skips files deleted in the meantime."""
    return _build(folder, names, name=name, read_file=lambda path, _: _digest_of(path))


def copy(folder: Path, names: Iterable[Listed], *, name: str, to: Path) -> Tree:
    """Copy these names from `folder` to `to`, and return the tree of the copies."""

    def copy_file(path: Path, relative: str) -> str:
        target = to / relative
        digest = _copied(path, target)
        # Read-only: a user who follows a traceback must not edit the copy by mistake.
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
    """Build a tree; `read_file` returns the digest of a file's content."""

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
            if error.filename != str(path):  # the copy cannot be written
                raise
            raise _unreadable(path, error) from error

    with ThreadPoolExecutor(_READERS) as pool:
        items = list(pool.map(item, names))
    return Tree(name=name, items=tuple(each for each in items if each is not None))


def _digest_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copied(source: Path, target: Path) -> str:
    """Copy a file with its time; return the digest of the copy.

    Retries a few times if the file changes. One that keeps changing is a log, and any part will do.
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
    with contextlib.suppress(OSError):  # some file systems do not store times
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    return digest.hexdigest()


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def _target(folder: Path, link: Path) -> str:
    """Return the target for the copy of a link: inside the copy, or the same place outside."""
    target = Path(os.path.normpath(link.parent / link.readlink()))
    if target.is_relative_to(folder):
        return os.path.relpath(target, link.parent)
    return str(target)


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot read `{path}`, which is part of the code of the run: {error.strerror}",
        hint="make it readable, add it to .gitignore, or run with code=shared",
    )
