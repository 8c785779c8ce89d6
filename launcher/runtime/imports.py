"""What `import` finds in the program of a rank: the same modules as under `python program.py`.

Our agents import torch, and so much of the standard library, before the program's folder is on the
path. And our own package comes first on their path, so that every node runs the same launcher. Both
would hide modules of the program, such as its `random.py` or its package `launcher`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, MutableMapping
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path

__all__ = ["give_way"]

_OWN_NAME = "launcher"
_OWN_FILE = Path("runtime", "shim.py")
"""A package of our name that has this file is ours, perhaps another copy."""
_BEFORE_ANY_PROGRAM = ("__main__", "encodings")
"""Modules that the interpreter has imported before it looks into the program's folder."""


def give_way(folder: str | None, environ: MutableMapping[str, str]) -> None:
    """Put `folder` first on `sys.path`, and let the program's modules win over those imported.

    Modules that we hold keep working; only their names are free again. `environ` gets the path of
    the program's own children. Without a `folder` (a deleted one), only the path of others counts.
    """
    first = None if sys.flags.safe_path else folder
    if first is not None:
        sys.path.insert(0, first)
    _release_own_name(environ.pop("LAUNCHER_PACKAGES", ""), environ)
    if first is None:
        return
    for name in _imported().intersection(_names_in(first)):
        spec = PathFinder.find_spec(name, [first])
        # A folder without `__init__.py` loses to any module of that name.
        if spec is not None and spec.loader is not None and not _is_loaded(spec):
            _forget(name)


def _release_own_name(packages: str, environ: MutableMapping[str, str]) -> None:
    """Move our own package to the end of the path, or off it if the program has such a name.

    `packages` is the folder that the plan put first. It is empty for our own recipes, which need
    our package whatever the user has.
    """
    if not packages or packages not in sys.path:
        return
    others = [each for each in sys.path if each != packages]
    theirs = PathFinder.find_spec(_OWN_NAME, others)
    # A folder without `__init__.py` loses to a package.
    is_theirs = theirs is not None and theirs.loader is not None and not _is_ours(theirs)
    keep = [] if is_theirs else [packages]
    sys.path[:] = others + keep
    exported = environ.pop("PYTHONPATH", "").split(os.pathsep)
    left = [each for each in exported if each != packages] + keep
    if left:
        environ["PYTHONPATH"] = os.pathsep.join(left)
    if not keep:
        _forget(_OWN_NAME)


def _is_ours(spec: ModuleSpec) -> bool:
    return any((Path(each) / _OWN_FILE).is_file() for each in spec.submodule_search_locations or ())


def _imported() -> set[str]:
    return {
        name
        for name in {each.partition(".")[0] for each in list(sys.modules)}
        if name not in _BEFORE_ANY_PROGRAM
        and BuiltinImporter.find_spec(name) is None
        and FrozenImporter.find_spec(name) is None
    }


def _names_in(folder: str) -> Iterable[str]:
    try:
        return {name.partition(".")[0] for name in os.listdir(folder)}  # noqa: PTH208 - names only
    except OSError:
        return ()


def _is_loaded(spec: ModuleSpec) -> bool:
    loaded = getattr(sys.modules.get(spec.name), "__file__", None)
    return loaded is not None and spec.origin == loaded


def _forget(name: str) -> None:
    for each in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[each]
