"""Folders of a project that modules are imported from.

A project that is installed in editable mode, or named in PYTHONPATH, would be imported from where
it lies, edits and all: its copy has to come first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from launcher.capsule.tree import Item


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
