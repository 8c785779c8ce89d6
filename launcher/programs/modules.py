"""Finds what `python -m` would run, without importing it: an import may take seconds."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

from launcher import search_paths
from launcher.errors import ConfigError, PreflightError, nearest

_MAIN = "__main__"
_SHOWN = 8
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, kw_only=True)
class FoundModule:
    """A module, and where its code is."""

    name: str
    file: Path | None = None
    """For a package, its `__main__.py`. None if only the environment of the nodes has it."""
    root: Path | None = None
    """The folder on the import path that contains it. None if it is installed in the environment.
    """


def check_name(name: str) -> None:
    """Check the syntax of a module's name.

    Raises:
        ConfigError: no module can have this name; the hint has the name that was probably meant.
    """
    parts = name.split(".")
    if all(parts) and not any(sign in name for sign in "/\\:; \t\n"):
        return
    words = name.removeprefix("-m").strip().replace("\\", "/").removeprefix("./")
    meant = words.rstrip("/").removesuffix(".py").replace("/", ".")
    meant = meant if words.startswith("/") else meant.strip(".")
    near = all(meant.split(".")) and not any(sign in meant for sign in ":; \t\n")
    raise ConfigError(
        f"`module={name}`: expected a name as after `python -m`, such as pkg.train",
        hint=f"did you mean `module={meant}`?" if near else "a file is started with script=PATH",
    )


def import_path(cwd: Path, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the folders in which `python -m` looks in `cwd`; `env` has the user's `env.` keys."""
    found = search_paths.absolute(env, cwd, expand_home=True).get("PYTHONPATH", "")
    given = [each for each in found.split(os.pathsep) if each]
    return tuple(dict.fromkeys((str(cwd), *given, *(str(cwd / each) for each in sys.path))))


def find_module(name: str, path: Sequence[str], *, python: str = sys.executable) -> FoundModule:
    """Find a module on `path`, whose first folder is the current one.

    With another interpreter than ours, a package that is not on the path counts as installed there.

    Raises:
        PreflightError: it does not exist, or cannot be run; the hint has the nearest name.
    """
    importlib.invalidate_caches()
    spec: ModuleSpec | None = None
    where: Sequence[str] = path
    parts = name.split(".")
    for index in range(len(parts)):
        known = ".".join(parts[: index + 1])
        spec = _spec(known, where) or (None if index else _other_spec(known))
        if spec is None and not index and python != sys.executable:
            return FoundModule(name=name)
        if spec is None:
            raise _no_package(name, path) if not index else _no_module(name, index, where)
        if spec.submodule_search_locations is None:
            if index + 1 < len(parts):
                raise _no_folder(name, known, parts[index + 1 :])
            return _found(name, spec)
        where = list(spec.submodule_search_locations)
    main = _spec(f"{name}.{_MAIN}", where)
    if main is None:
        raise _no_main(name, where)
    return _found(name, main)


def _spec(name: str, path: Iterable[str]) -> ModuleSpec | None:
    """Find one module in the folders of its parent, as `PathFinder` does.

    `PathFinder` itself wants the parents of a namespace package to be imported.
    """
    portions: list[str] = []
    for entry in path:
        finder = pkgutil.get_importer(entry)
        spec = finder.find_spec(name) if finder else None
        if spec is not None and spec.loader is not None:
            return spec
        portions += list(spec.submodule_search_locations or ()) if spec else []
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _other_spec(name: str) -> ModuleSpec | None:
    """Ask the finders that use no path: for built-in modules and editable installs."""
    for finder in sys.meta_path:
        ask = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = ask(name, None) if ask else None
        if spec is not None:
            return spec
    return None


def _found(name: str, spec: ModuleSpec) -> FoundModule:
    file = Path(spec.origin) if spec.has_location and spec.origin else None
    if file is None or not file.is_file():  # built-in, or in a zip
        return FoundModule(name=name)
    root = None if _is_installed(file) else file.parents[spec.name.count(".")]
    return FoundModule(name=name, file=file, root=root)


def _is_installed(file: Path) -> bool:
    if any(part in _INSTALLED for part in file.parts):
        return True
    library = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return any(file.is_relative_to(folder) for folder in library)


def _no_package(name: str, path: Sequence[str]) -> PreflightError:
    top, _, rest = name.partition(".")
    cwd = Path(path[0])
    what = f"no module named `{top}`: it is not in {cwd}, not on PYTHONPATH and not installed"
    for folder in (*sorted(cwd.glob("*/")), cwd.parent):
        if _spec(top, [str(folder)]) is not None:
            place = ".." if folder == cwd.parent else folder.name
            hint = f"it is in {folder}: put `PYTHONPATH={place}` before the command"
            return PreflightError(what, hint=hint)
    names = _names([str(cwd)])
    near = nearest(top, names)
    if near:
        return PreflightError(what, hint=_did_you_mean(".".join(filter(None, (near, rest)))))
    return PreflightError(
        what, hint=_listing("modules here", names) or "start in the folder that contains it"
    )


def _no_module(name: str, index: int, where: Sequence[str]) -> PreflightError:
    parts = name.split(".")
    parent, names = ".".join(parts[:index]), _names(where)
    near = nearest(parts[index], names)
    hint = (
        _did_you_mean(".".join((parent, near, *parts[index + 1 :])))
        if near
        else _listing(f"modules in `{parent}`", names)
    )
    return PreflightError(
        f"the package `{parent}` has no module `{parts[index]}`",
        hint=hint or f"{', '.join(where)} has no Python files",
    )


def _no_folder(name: str, known: str, rest: Sequence[str]) -> PreflightError:
    hint = f"give a function of it as an argument of the program, not in module={name}"
    return PreflightError(
        f"no module named `{name}`: `{known}` is a file, not a package",
        hint=_did_you_mean(known) if len(rest) == 1 else hint,
    )


def _no_main(name: str, where: Sequence[str]) -> PreflightError:
    listed = _listing(f"modules in `{name}`", [f"{name}.{each}" for each in _names(where)])
    return PreflightError(
        f"`{name}` is a package without `{_MAIN}.py`, so that it cannot be run",
        hint=f"give one of its modules; {listed}" if listed else f"add {where[0]}/{_MAIN}.py",
    )


def _names(path: Iterable[str]) -> list[str]:
    """Return the modules in these folders, and folders with Python files, without importing."""
    modules = {each.name for each in pkgutil.iter_modules(list(path))}
    folders = {file.parent.name for entry in path for file in Path(entry).glob("*/*.py")}
    return sorted((modules | {each for each in folders if each.isidentifier()}) - {_MAIN})


def _did_you_mean(name: str) -> str:
    return f"did you mean `module={name}`?"


def _listing(title: str, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{title}: {', '.join(names[:_SHOWN])}{more}" if names else ""
