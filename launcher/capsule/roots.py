"""What runs write is no code: neither below the storage root in use, nor below any other.

A storage root has no marker of its own, but what the launcher makes in it has, since its first
version: one such folder tells that the one around it is a storage root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.specs import RunLayout
from launcher.storage.manifest import MANIFEST_NAME

FOLDER = "code"
"""Where copies of programs lie, below the storage root."""
MARKER = "capsule.json"
"""Lies beside every copy."""


class StorageRoots:
    """The storage roots below the folder of a project."""

    def __init__(self, top: Path, program: Path, in_use: Path | None) -> None:
        self._program = program
        # It may be called by a name with links in it, or be a link that lies in the project.
        self._in_use = {in_use, in_use.resolve()} if in_use else set()
        self._known = {top: False}

    def hold(self, path: Path) -> bool:
        """Tell whether `path`, in the folder of the project, is or lies in what is no code.

        A storage root around the program has code in it as well: only what we made there is none.
        """
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self.hold(path.parent) or self._is_one(path)
        return known

    def _is_one(self, path: Path) -> bool:
        if not _has(path / "."):  # no folder, or none that can be entered
            return False
        if self._program.is_relative_to(path):
            return _is_made(path)
        return path in self._in_use or _is_made(path) or _is_root(path)


def _is_root(folder: Path) -> bool:
    return any(_is_made(path) for name in _MADE for path in _folders(folder / name))


def _is_made(path: Path) -> bool:
    """Tell whether the launcher made the folder: a copy of code, a run, or a snapshot."""
    tell = _MADE.get(path.parent.name)
    return tell is not None and tell(path)


def _is_copy(path: Path) -> bool:
    return re.fullmatch("[0-9a-f]+", path.name) is not None and _has(path / MARKER)


def _is_run(path: Path) -> bool:
    layout = RunLayout(path)
    return _has(layout.plan) and _has(layout.attempts)


def _is_snapshot(path: Path) -> bool:
    return _has(path / MANIFEST_NAME)


_MADE: Mapping[str, Callable[[Path], bool]] = {
    FOLDER: _is_copy,
    "runs": _is_run,
    "staged": _is_snapshot,
}


def _has(path: Path) -> bool:
    """Tell whether it is there; what is in somebody else's folder is not."""
    return os.access(path, os.F_OK)


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as found:
            return [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]
    except OSError:  # there is none, or it is somebody else's
        return []
