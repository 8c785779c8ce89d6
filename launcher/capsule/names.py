"""Names in a project, and which of them are worth to be looked at."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

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
