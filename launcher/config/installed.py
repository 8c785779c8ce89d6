"""Choices that installed packages add to a config group: `cluster=pbs` needs no yaml file."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.override_parser.types import Override

from launcher.errors import UnknownNameError
from launcher.extensions import Table
from launcher.nodes import SOURCES

TABLES: Mapping[str, Table[Any]] = MappingProxyType({"cluster": SOURCES})
"""Config group -> the table to which packages may add rows."""


@dataclass(frozen=True, kw_only=True)
class InstalledChoice:
    """A choice of a config group that only an installed package has."""

    group: str
    name: str
    conf: Path
    """Folder with further yaml files, `conf/` beside the row's module; it need not exist."""


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
    choices = []
    for group, name in unknown:
        if name in groups.get(group, ()):
            continue
        try:
            row = TABLES[group][name]
        except UnknownNameError:
            continue
        choices.append(InstalledChoice(group=group, name=name, conf=_folder(row.module) / "conf"))
    return tuple(choices)


def _folder(module: str) -> Path:
    spec = importlib.util.find_spec(module.partition(":")[0])
    return Path(spec.origin).parent if spec and spec.origin else Path()
