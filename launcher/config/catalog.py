"""Which groups there are, and which choices each has, by listing the folders. Knows no Hydra."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from launcher.config.installed import InstalledChoice
from launcher.config.paths import ConfigPaths


def groups(paths: ConfigPaths, more: Iterable[InstalledChoice] = ()) -> dict[str, tuple[str, ...]]:
    """Return every group with its choices, both sorted; nested groups are named `outer/inner`."""
    found: dict[str, set[str]] = {}
    for choice in more:
        found.setdefault(choice.group, set()).add(choice.name)
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
