"""Choices that installed packages add to a config group: `cluster=pbs` needs no yaml file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.override_parser.types import Override

from launcher.engines import BACKENDS
from launcher.errors import UnknownNameError
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
    """Return the choices among `overrides` that no file defines and a package does.

    Packages are searched only for an unknown choice. One that no package has either is left to
    `overrides.check`, which refuses it.
    """
    unknown = (
        (each.key_or_group, str(each.value()))
        for each in overrides
        if each.key_or_group in TABLES and not each.is_sweep_override() and not each.is_delete()
    )
    found = (_find(*each) for each in unknown if each[1] not in groups.get(each[0], ()))
    return tuple(each for each in found if each is not None)


def _find(group: str, name: str) -> InstalledChoice | None:
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and rarely needed
    from importlib.util import find_spec  # noqa: PLC0415

    table = TABLES[group]
    try:
        table[name]
    except UnknownNameError:
        return None
    (point,) = entry_points(group=table.group, name=name)
    spec = find_spec(point.module)
    assert spec is not None
    assert spec.origin is not None, "it was loaded from a file just now"
    return InstalledChoice(group=group, name=name, conf=Path(spec.origin).parent / "conf")


def all_choices() -> tuple[InstalledChoice, ...]:
    """Return every choice that installed packages add, without loading them."""
    return tuple(
        InstalledChoice(group=group, name=name, conf=Path())
        for group, table in TABLES.items()
        for name in table.names()
        if name not in table.built_in
    )
