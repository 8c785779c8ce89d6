"""What is not code: caches, data, storage roots of runs, and projects that are too large."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher import units
from launcher.errors import ConfigError
from launcher.specs import RunLayout
from launcher.storage.manifest import MANIFEST_NAME

FOLDER = "code"
"""Folder of all code snapshots, below the storage root."""
MANIFEST = "capsule.json"
"""File beside each snapshot that lists its content."""
LIMIT_BYTES = 100_000_000
LIMIT_FILES = 20_000
"""A project above these limits contains data, which belongs elsewhere."""
_NAMED_BYTES = 1_000_000
"""The message names larger files, and the folders of smaller ones."""
_MAX_ROWS = 5
_NOISE = frozenset({"__pycache__", "node_modules", ".git", ".hg", ".svn"})


def state_of(path: Path) -> os.stat_result | None:
    """Return the state of a file, link or folder; None for anything else."""
    try:
        state = path.lstat()
    except OSError:  # deleted, but git still lists it
        return None
    known = (stat.S_ISREG, stat.S_ISLNK, stat.S_ISDIR)
    return state if any(is_kind(state.st_mode) for is_kind in known) else None


def is_noise(path: Path) -> bool:
    """Return whether no program reads it: caches, virtual environments, version control."""
    name = path.name
    is_cache = name.startswith(".") and name.endswith("_cache")  # of mypy, pytest, ruff
    if is_cache or name in _NOISE or name.endswith((".pyc", ".egg-info")):
        return True
    return (path / "pyvenv.cfg").exists() or (path / "conda-meta").is_dir()


def prints_to(state: os.stat_result) -> bool:
    """Return whether this command prints to that file, which then changes with every line."""
    for number in (1, 2):
        try:
            own = os.fstat(number)
        except OSError:  # closed
            continue
        if stat.S_ISREG(own.st_mode) and os.path.samestat(own, state):
            return True
    return False


class Size:
    """Counts the bytes and files to copy from one folder."""

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
        """Refuse a project that is too large.

        Raises:
            ConfigError: too many bytes or files; the error lists the largest.
        """
        if not self.is_beyond:
            return
        by_bytes = self._bytes.total() > LIMIT_BYTES
        most = (self._bytes if by_bytes else self._files).most_common(_MAX_ROWS)
        limit = units.size(LIMIT_BYTES) if by_bytes else units.count(LIMIT_FILES, "file")
        raise ConfigError(
            f"the code in `{self._folder}` is too large to be copied: more than {limit}",
            context="\n".join(["largest:", *(self._row(where) for where, _ in most)]),
            hint="add data to .gitignore (it is linked, not copied), or move the program to a "
            "folder of its own; code=shared runs it in place",
        )

    def _row(self, where: str) -> str:
        files = f" ({units.count(self._files[where], 'file')})" if where.endswith("/") else ""
        return f"  {units.size(self._bytes[where]):>9}  {where}{files}"


class StorageRoots:
    """The storage roots below the folder of a project."""

    def __init__(self, top: Path, program: Path, in_use: Path | None) -> None:
        self._program = program
        # Its path may contain links, or it may be a link inside the project.
        self._in_use = {in_use, in_use.resolve()} if in_use else set()
        self._known = {top: False}

    def hold(self, path: Path) -> bool:
        """Return whether `path`, inside the project, is or lies in a storage root.

        If the program is inside a storage root, only the folders that the launcher made count.
        """
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self.hold(path.parent) or self._is_one(path)
        return known

    def _is_one(self, path: Path) -> bool:
        if not _exists(path / "."):  # not a folder, or not accessible
            return False
        if self._program.is_relative_to(path):
            return _is_made(path)
        return path in self._in_use or _is_made(path) or _is_root(path)


def _is_root(folder: Path) -> bool:
    return any(_is_made(path) for name in _MADE for path in _folders(folder / name))


def _is_made(path: Path) -> bool:
    """Return whether the launcher made the folder: a code snapshot, a run, or staged data."""
    is_kind = _MADE.get(path.parent.name)
    return is_kind is not None and is_kind(path)


def _is_code(path: Path) -> bool:
    return re.fullmatch("[0-9a-f]+", path.name) is not None and _exists(path / MANIFEST)


def _is_run(path: Path) -> bool:
    layout = RunLayout(path)
    return _exists(layout.plan) and _exists(layout.attempts)


def _is_staged(path: Path) -> bool:
    return _exists(path / MANIFEST_NAME)


_MADE: Mapping[str, Callable[[Path], bool]] = {
    FOLDER: _is_code,
    "runs": _is_run,
    "staged": _is_staged,
}


def _exists(path: Path) -> bool:
    """Return whether it exists; False in a folder without access."""
    return os.access(path, os.F_OK)


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # does not exist, or no access
        return []
