"""Which files are the code of a program: those of its checkout, or of its folder.

What is no code (what git ignores; without git what is large) is linked instead of copied: a program
that looks for its data beside itself finds it wherever the project itself can be seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.capsule import git
from launcher.capsule.names import Listed, is_noise, prints_to, state_of
from launcher.capsule.roots import StorageRoots
from launcher.capsule.size import Size

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
