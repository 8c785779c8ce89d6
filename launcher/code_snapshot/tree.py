"""Names and contents as one value, whose digest names the copy."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from launcher import units
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


# Names in a project, and which of them are worth to be looked at.
_NOISE = frozenset({"__pycache__", "node_modules", ".git", ".hg", ".svn"})


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One name in a project."""

    path: str
    """Relative to the project, with `/`."""
    is_link: bool = False
    """It will be a link to where it lies now."""


def state_of(path: Path) -> os.stat_result | None:
    """Return the state of what can be copied: a file or a link; or of a folder."""
    try:
        found = path.lstat()
    except OSError:  # deleted, but git still lists it
        return None
    known = (stat.S_ISREG, stat.S_ISLNK, stat.S_ISDIR)
    return found if any(is_kind(found.st_mode) for is_kind in known) else None


def is_noise(path: Path) -> bool:
    """Tell whether no program looks for it: caches, virtual environments, version control."""
    name = path.name
    is_cache = name.startswith(".") and name.endswith("_cache")  # of mypy, pytest, ruff
    if is_cache or name in _NOISE or name.endswith((".pyc", ".egg-info")):
        return True
    return (path / "pyvenv.cfg").exists() or (path / "conda-meta").is_dir()


def prints_to(state: os.stat_result) -> bool:
    """Tell whether this very command prints to that file: with every line it would be another."""
    for number in (1, 2):
        try:
            own = os.fstat(number)
        except OSError:  # closed
            continue
        if stat.S_ISREG(own.st_mode) and os.path.samestat(own, state):
            return True
    return False


# How much of a project there is to copy, and where most of it lies.
LIMIT_BYTES = 100_000_000
LIMIT_FILES = 20_000
"""Code is smaller. What is larger has data in it, which belongs elsewhere."""
_NAMED_BYTES = 1_000_000
"""Larger files are named by themselves, smaller ones by their folder."""
_MOST_ROWS = 5


class Size:
    """Adds up what is to be copied from one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes: Counter[str] = Counter()
        self._files: Counter[str] = Counter()

    def add(self, path: str, size_bytes: int) -> None:
        where = path if size_bytes > _NAMED_BYTES else f"{path.rpartition('/')[0] or '.'}/"
        self._bytes[where] += size_bytes
        self._files[where] += 1

    @property
    def is_beyond(self) -> bool:
        return self._files.total() > LIMIT_FILES or self._bytes.total() > LIMIT_BYTES

    def require_code(self) -> None:
        """Refuse what is too large, and say what makes it so.

        Raises:
            ConfigError: it has too many bytes or files.
        """
        if not self.is_beyond:
            return
        by_bytes = self._bytes.total() > LIMIT_BYTES
        most = (self._bytes if by_bytes else self._files).most_common(_MOST_ROWS)
        limit = units.size(LIMIT_BYTES) if by_bytes else units.count(LIMIT_FILES, "file")
        raise ConfigError(
            f"the code in `{self._folder}` is too large to be copied: more than {limit}",
            context="\n".join(["most of it:", *(self._row(where) for where, _ in most)]),
            hint="let git ignore what is no code (it is linked, not copied), or put the program "
            "into a folder of its own; code=shared runs it where it lies",
        )

    def _row(self, where: str) -> str:
        files = f" ({units.count(self._files[where], 'file')})" if where.endswith("/") else ""
        return f"  {units.size(self._bytes[where]):>9}  {where}{files}"
