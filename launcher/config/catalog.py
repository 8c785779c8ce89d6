"""The config groups and the choices of each: yaml files and rows of tables. Knows no Hydra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from launcher.config.paths import ConfigPaths
from launcher.engines import BACKENDS
from launcher.extensions import Table

TABLES: Mapping[str, Table[Any]] = MappingProxyType({"backend": BACKENDS})
"""Groups whose choices are the rows of a table: `group=NAME` needs no file, `name: NAME` is all
that it sets."""


def groups(paths: ConfigPaths) -> dict[str, tuple[str, ...]]:
    """Return every group with its choices, both sorted; nested groups are named `outer/inner`."""
    found = {group: set(table.names()) for group, table in TABLES.items()}
    for folder in paths.all:
        for file in folder.rglob("*.yaml"):
            group = file.parent.relative_to(folder).as_posix()
            if group != ".":
                found.setdefault(group, set()).add(file.stem)
    return {group: tuple(sorted(found[group])) for group in sorted(found)}


def files(paths: ConfigPaths, group: str, choice: str) -> tuple[Path, ...]:
    """Return the files that define `group=choice`; the first is the one that is used."""
    candidates = (folder / group / f"{choice}.yaml" for folder in paths.all)
    return tuple(file for file in candidates if file.is_file())


def without_file(paths: ConfigPaths) -> Iterator[tuple[str, str]]:
    """Yield the group and the choice of every row that has no file."""
    for group, table in TABLES.items():
        yield from ((group, name) for name in table.names() if not files(paths, group, name))


def summary(paths: ConfigPaths, group: str, choice: str) -> str:
    """Return one line about a choice, from its file.

    That is the file's `description:`, or else its first comment that is not a directive of Hydra.
    Read as text: parsing every file for `--help` would cost more than the help is worth.
    """
    file = next(iter(files(paths, group, choice)), None)
    if file is None:
        return "from an installed package"
    text = file.read_text(encoding="utf-8", errors="replace")
    described = re.search(r"""^\s*description:\s*["']?(.+?)["']?\s*$""", text, re.MULTILINE)
    if described:
        return described.group(1)
    comments = re.findall(r"^#\s*(?!@)(\S.*)$", text, re.MULTILINE)
    return comments[0] if comments else ""
