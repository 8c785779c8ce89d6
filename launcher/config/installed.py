"""Choices that installed packages add to a config group: `cluster=pbs` needs no yaml file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.override_parser.types import Override

from launcher.engines import BACKENDS
from launcher.extensions import Table
from launcher.nodes import SOURCES

TABLES: Mapping[str, Table[Any]] = MappingProxyType({"backend": BACKENDS, "cluster": SOURCES})
"""Config group -> the table to which packages may add rows."""


@dataclass(frozen=True, kw_only=True)
class InstalledChoice:
    """A choice of a config group that only an installed package has."""

    group: str
    name: str
    conf: Path
    """Folder with further yaml files: `conf/` beside the module of its entry point. It need not
    exist."""


def installed_choices(
    overrides: Sequence[Override], groups: Mapping[str, Sequence[str]]
) -> tuple[InstalledChoice, ...]:
    """Return the choices of installed packages, if `overrides` name one that no file defines.

    Packages are searched only then. A name that no package has either is left to
    `overrides.check`, which refuses it and offers the nearest one.

    Raises:
        ConfigError: a package declares a choice in `overrides` that cannot be loaded.
    """
    unknown = {
        (each.key_or_group, str(each.value()))
        for each in overrides
        if each.key_or_group in TABLES and not each.is_sweep_override() and not each.is_delete()
    } - {(group, name) for group, names in groups.items() for name in names}
    if not unknown:
        return ()
    choices = all_choices()
    for each in choices:
        if (each.group, each.name) in unknown:
            TABLES[each.group][each.name]  # raises if it cannot be loaded
    return choices


def all_choices() -> tuple[InstalledChoice, ...]:
    """Return every choice that installed packages add. Loads none of them."""
    return tuple(
        InstalledChoice(group=group, name=name, conf=_conf(point.module))
        for group, table in TABLES.items()
        for name, point in table.declared().items()
    )


def _conf(module: str) -> Path:
    """Return `conf/` beside a module, without importing it: only its packages are imported."""
    try:
        spec = find_spec(module)
    except ImportError:
        spec = None
    return Path(spec.origin).parent / "conf" if spec and spec.origin else Path("conf")
