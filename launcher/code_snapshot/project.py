"""Which files are the code of a program: those of its checkout, or of its folder.

What is no code (what git ignores; without git what is large) is linked instead of copied: a program
that looks for its data beside itself finds it wherever the project itself can be seen.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from launcher.code_snapshot import git
from launcher.code_snapshot.tree import Item, Listed, Size, is_noise, prints_to, state_of
from launcher.specs import RunLayout
from launcher.storage.manifest import MANIFEST_NAME

DATA_BYTES = 1_000_000
"""Without git nobody says what is code: larger files are not."""
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Project:
    """A program and the code around it."""

    folder: Path
    program: str
    """Relative to `folder`."""
    names: tuple[Listed, ...]
    commit: str = ""
    dirty: bool = False


def project_of(program: Path, *, storage_root: Path) -> Project:
    """Return the project of `program`, which exists; no storage root ever belongs to it.

    Raises:
        ConfigError: it is too large to be code.
    """
    program = program.resolve()
    return (
        _own_recipes(program)
        or _in_checkout(program, storage_root)
        or _in_folder(program.parent, program, storage_root)
    )


def launcher_package() -> Project:
    """Return our own package: nodes need not have it installed."""
    return _in_folder(_PACKAGE, _PACKAGE / "__main__.py", None)


def _own_recipes(program: Path) -> Project | None:
    for folder in (_PACKAGE / "_bundled" / "recipes", _PACKAGE.parent / "recipes"):
        if program.is_relative_to(folder):
            return _in_folder(folder, program, None)
    return None


def _in_checkout(program: Path, storage_root: Path) -> Project | None:
    top = git.top_of(program.parent)
    if top is None or not program.is_relative_to(top):
        return None
    found = git.checkout(top)
    relative = str(program.relative_to(top))
    size = Size(top)
    roots = StorageRoots(top, program, storage_root)
    names = sorted(_of_checkout(top, "", found, roots, size), key=lambda each: each.path)
    if Listed(path=relative) not in names:  # ignored: a checkout only lies around it
        return None
    size.require_code()
    return Project(
        folder=top, program=relative, names=tuple(names), commit=found.commit, dirty=found.dirty
    )


def _of_checkout(
    top: Path, prefix: str, found: git.Checkout, roots: StorageRoots, size: Size
) -> Iterator[Listed]:
    for name in found.sources:
        path = top / prefix / name
        state = state_of(path)
        if state is None or roots.hold(path):
            continue
        if not stat.S_ISDIR(state.st_mode):
            yield _listed(f"{prefix}{name}", state, size, is_code=True)
        elif (path / ".git").exists():  # a submodule, or a checkout that nobody tracks
            inner = git.checkout(path)
            yield from _of_checkout(top, f"{prefix}{name}/", inner, roots, size)
    for name in found.ignored:
        path = top / prefix / name
        if not is_noise(path) and not roots.hold(path):
            yield Listed(path=f"{prefix}{name}", is_link=True)


def _listed(name: str, state: os.stat_result, size: Size, *, is_code: bool) -> Listed:
    copied = is_code and not prints_to(state)
    if copied:
        size.add(name, state.st_size)
    return Listed(path=name, is_link=not copied)


def _in_folder(folder: Path, program: Path, storage_root: Path | None) -> Project:
    size = Size(folder)
    roots = StorageRoots(folder, program, storage_root)
    names = sorted(_walk(folder, folder, size, roots), key=lambda each: each.path)
    size.require_code()
    return Project(folder=folder, program=str(program.relative_to(folder)), names=tuple(names))


def _walk(top: Path, folder: Path, size: Size, roots: StorageRoots) -> Iterator[Listed]:
    """List a folder without git: hidden folders are left out, hidden and large files linked."""
    for entry in _entries(folder):
        path = Path(entry.path)
        name = str(path.relative_to(top))
        if size.is_beyond or is_noise(path) or roots.hold(path):
            continue
        hidden = entry.name.startswith(".")
        state = state_of(path)
        if not entry.is_dir(follow_symlinks=False):
            if state is not None:
                is_code = state.st_size <= DATA_BYTES and not hidden
                yield _listed(name, state, size, is_code=is_code)
        elif (path / ".git").exists():
            yield Listed(path=name, is_link=True)
        elif not hidden:
            yield from _walk(top, path, size, roots)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except PermissionError:  # somebody else's, as in /tmp
        return []


# What runs write is no code: neither below the storage root in use, nor below any other.
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


# Folders of a project that modules are imported from.
def imports_of(
    folder: Path,
    items: Iterable[Item],
    *,
    path: Iterable[str] | None = None,
    modules: Mapping[str, ModuleType] | None = None,
) -> tuple[str, ...]:
    """Return the folders below `folder` that stand on `path`, relative to it, in their order.

    The first entry of `sys.path` is where the command was started, not what somebody installed.
    """
    copied = {str(parent) for item in items if item.sha256 for parent in Path(item.path).parents}
    entries = [*(sys.path[1:] if path is None else path)]
    entries += _editable(sys.modules if modules is None else modules)
    inside = (
        str(Path(entry).resolve().relative_to(folder))
        for entry in entries
        if entry and Path(entry).resolve().is_relative_to(folder)
    )
    return tuple(dict.fromkeys(each for each in inside if each in copied))


def _editable(modules: Mapping[str, ModuleType]) -> Iterator[str]:
    """Setuptools keeps editable packages off `sys.path`: its finders know where they are."""
    for name, module in list(modules.items()):
        if name.startswith("__editable__"):
            for place in getattr(module, "MAPPING", {}).values():
                yield str(Path(place).parent)
