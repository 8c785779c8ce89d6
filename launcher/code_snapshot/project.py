"""Which files belong to the code of a program: those of its git checkout, or of its folder.

Data (what git ignores; without git, large files) is linked, not copied. So a program that reads
data beside itself finds it wherever the original is visible.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from launcher.code_snapshot import git
from launcher.code_snapshot.filters import Size, StorageRoots, is_noise, prints_to, state_of
from launcher.code_snapshot.tree import Item, Listed

DATA_BYTES = 1_000_000
"""Without git, larger files count as data."""
_PACKAGE = Path(__file__).resolve().parents[1]
_OWN_RECIPES = (_PACKAGE / "_bundled" / "recipes", _PACKAGE.parent / "recipes")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A program and the code around it."""

    folder: Path
    program: str
    """Relative to `folder`."""
    names: tuple[Listed, ...]
    commit: str = ""
    dirty: bool = False


def project_of(program: Path, *, storage_root: Path, folder: Path | None = None) -> Project:
    """Return the project of `program`, which exists. Storage roots are never part of it.

    Without git it is `folder`, which contains the program; by default the program's own folder.

    Raises:
        ConfigError: the project is too large.
    """
    typed = program.parent.resolve() / program.name
    # A link in a package stays a module of that package.
    program = folder.resolve() / program.relative_to(folder) if folder else program.resolve()
    return _named(
        typed,
        _own_recipes(program)
        or _in_checkout(program, folder or program.parent, storage_root)
        or _in_folder(folder.resolve() if folder else program.parent, program, storage_root),
    )


def _named(typed: Path, project: Project) -> Project:
    """Return the project with the program under the name that was typed, if it has this link.

    Programs look at their own name (`sys.argv[0]`), and are linked under several names.
    """
    name = str(typed.relative_to(project.folder)) if typed.is_relative_to(project.folder) else ""
    known = any(each.path == name for each in project.names)
    return dataclasses.replace(project, program=name) if known else project


def launcher_package() -> Project:
    """Return our own package, so that nodes need not have it installed.

    Includes `conf` and `recipes`, because a program may call the launcher inside a rank. A wheel
    has them in the package, a checkout beside it.
    """
    main, top = _PACKAGE / "__main__.py", _PACKAGE.parent
    parts = tuple(top / each for each in (_PACKAGE.name, "conf", "recipes"))
    if (_PACKAGE / "_bundled").is_dir() or not all(each.is_dir() for each in parts):
        return _in_folder(_PACKAGE, main, None)
    return _in_folder(top, main, None, parts=parts)


def is_own_recipe(program: Path) -> bool:
    """Return whether `program` is one of the launcher's recipes."""
    return any(program.is_relative_to(folder) for folder in _OWN_RECIPES)


def _own_recipes(program: Path) -> Project | None:
    for folder in _OWN_RECIPES:
        if program.is_relative_to(folder):
            return _in_folder(folder, program, None)
    return None


def _in_checkout(program: Path, folder: Path, storage_root: Path) -> Project | None:
    top = git.top_of(folder)
    if top is None or not program.is_relative_to(top):
        return None
    checkout = git.checkout(top)
    relative = str(program.relative_to(top))
    size = Size(top)
    roots = StorageRoots(top, program, storage_root)
    names = sorted(_of_checkout(top, "", checkout, roots, size), key=lambda each: each.path)
    if Listed(path=relative) not in names:  # git ignores the program
        return None
    size.require_code()
    return Project(
        folder=top,
        program=relative,
        names=tuple(names),
        commit=checkout.commit,
        dirty=checkout.dirty,
    )


def _of_checkout(
    top: Path, prefix: str, checkout: git.Checkout, roots: StorageRoots, size: Size
) -> Iterator[Listed]:
    for name in checkout.sources:
        path = top / prefix / name
        state = state_of(path)
        if state is None or roots.hold(path):
            continue
        if not stat.S_ISDIR(state.st_mode):
            yield _listed(f"{prefix}{name}", state, size, is_code=True)
        elif (path / ".git").exists():  # a submodule, or an untracked checkout
            inner = git.checkout(path)
            yield from _of_checkout(top, f"{prefix}{name}/", inner, roots, size)
    for name in checkout.ignored:
        path = top / prefix / name
        if not is_noise(path) and not roots.hold(path):
            yield Listed(path=f"{prefix}{name}", is_link=True)


def _listed(name: str, state: os.stat_result, size: Size, *, is_code: bool) -> Listed:
    copied = is_code and not prints_to(state)
    if copied:
        size.add(name, state.st_size)
    return Listed(path=name, is_link=not copied)


def _in_folder(
    folder: Path, program: Path, storage_root: Path | None, *, parts: tuple[Path, ...] = ()
) -> Project:
    """Return the project in `folder`; with `parts`, only these folders in it."""
    size = Size(folder)
    roots = StorageRoots(folder, program, storage_root)
    listed = (each for part in parts or (folder,) for each in _walk(folder, part, size, roots))
    names = sorted(listed, key=lambda each: each.path)
    size.require_code()
    return Project(folder=folder, program=str(program.relative_to(folder)), names=tuple(names))


def _walk(top: Path, folder: Path, size: Size, roots: StorageRoots) -> Iterator[Listed]:
    """List a folder without git: skip hidden folders, link hidden and large files."""
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
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:  # another user's, as in /tmp
        return []


def imports_of(
    folder: Path,
    items: Iterable[Item],
    *,
    path: Iterable[str] | None = None,
    modules: Mapping[str, ModuleType] | None = None,
) -> tuple[str, ...]:
    """Return the copied folders of the project that are on `path`, relative to `folder`, in order.

    `path` defaults to `sys.path`, without the folder of the command: see `launcher.__init__`.
    """
    copied = {str(parent) for item in items if item.sha256 for parent in Path(item.path).parents}
    entries = [*(sys.path if path is None else path)]
    entries += _editable(sys.modules if modules is None else modules)
    inside = (
        str(Path(entry).resolve().relative_to(folder))
        for entry in entries
        if entry and Path(entry).resolve().is_relative_to(folder)
    )
    return tuple(dict.fromkeys(each for each in inside if each in copied))


def _editable(modules: Mapping[str, ModuleType]) -> Iterator[str]:
    """Yield the folders of editable packages: setuptools puts them into finders, not `sys.path`."""
    for name, module in list(modules.items()):
        if name.startswith("__editable__"):
            for place in getattr(module, "MAPPING", {}).values():
                yield str(Path(place).parent)
