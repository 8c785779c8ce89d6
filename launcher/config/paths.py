"""Where the folders `conf/` and `recipes/` are, and which config files they contain."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.config.installed import InstalledChoice
from launcher.errors import ConfigError
from launcher.storage import expand_home

PATH_KEYS = (
    *("script", "recipe.program", "storage.root", "cluster.hostfile", "cluster.python"),
    *("model.source", "data.source", "data.train", "data.test", "data.builder"),
)
"""Every key whose value is a path, or may be one."""
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class ConfigPaths:
    """The folders that the configuration is read from."""

    conf: Path
    """The launcher's own."""
    recipes: Path
    """Folder of the recipes' programs."""
    user: tuple[Path, ...] = ()
    """The user's, in the order given. They add files, but never replace one of the launcher's."""
    named: tuple[Path, ...] = ()
    """Those of `user` that `--config-dir` names. A `conf/` beside the user may belong to another
    program."""
    cwd: Path
    """Where relative paths on the command line start."""

    def with_folders(self, folders: Iterable[Path]) -> ConfigPaths:
        """Return these folders and, after the user's, those of `folders` that exist."""
        more = (each for each in folders if each.is_dir())
        return replace(self, user=tuple(dict.fromkeys((*self.user, *more))))

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.conf, *self.user)

    def groups(self, more: Iterable[InstalledChoice] = ()) -> dict[str, tuple[str, ...]]:
        """Return each group with its choices, both sorted; nested groups are `outer/inner`."""
        choices: dict[str, set[str]] = {}
        for each in more:
            choices.setdefault(each.group, set()).add(each.name)
        for folder in self.all:
            for file in folder.rglob("*.yaml"):
                group = file.parent.relative_to(folder).as_posix()
                if group != ".":
                    choices.setdefault(group, set()).add(file.stem)
        return {group: tuple(sorted(choices[group])) for group in sorted(choices)}

    def files(self, group: str, choice: str) -> tuple[Path, ...]:
        """Return the files that define `group=choice`; Hydra uses the first."""
        candidates = (folder / group / f"{choice}.yaml" for folder in self.all)
        return tuple(file for file in candidates if file.is_file())

    def summary(self, group: str, choice: str) -> str:
        """Return one line about a choice: the `description:` of its file, else the first comment.

        Skips comments that are directives for Hydra. Reads the file as text, because parsing all
        files would make `--help` slow.
        """
        file = next(iter(self.files(group, choice)), None)
        if file is None:
            return "from an installed package"
        text = file.read_text(encoding="utf-8", errors="replace")
        described = re.search(r"""^\s*description:\s*["']?(.+?)["']?\s*$""", text, re.MULTILINE)
        if described:
            return described.group(1)
        comments = re.findall(r"^#\s*(?!@)(\S.*)$", text, re.MULTILINE)
        return comments[0] if comments else ""


def expand_homes(values: Mapping[str, Any]) -> None:
    """Replace `~` and `~user` in each path of a composed configuration, in place.

    It is the home folder on this machine. `cluster.python`, too, is one path for all nodes.

    Raises:
        ConfigError: the user does not exist.
    """
    for key in PATH_KEYS:
        *sections, name = key.split(".")
        section: Any = functools.reduce(lambda inside, each: inside[each], sections, values)
        if isinstance(section.get(name), str):
            section[name] = expand_home(section[name], key)


def find(config_dirs: Sequence[Path] = (), *, cwd: Path | None = None) -> ConfigPaths:
    """Find the launcher's folders, and check the user's.

    Raises:
        ConfigError: a folder of `config_dirs` does not exist.
    """
    start = (cwd or Path.cwd()).resolve()
    top = _top()
    conf = (top / "conf").resolve()
    user: list[Path] = []
    for folder in config_dirs:
        absolute = (start / expand_home(str(folder), "--config-dir")).resolve()
        if not absolute.is_dir():
            raise ConfigError(
                f"`--config-dir {folder}`: no such folder",
                context=f"looked for {absolute}",
                hint="name the folder that contains `recipe/`, `model/` ... with your YAML files",
            )
        user.append(absolute)
    named = tuple(user)
    if _has_groups(start / "conf"):
        user.append(start / "conf")
    distinct = tuple(path for path in dict.fromkeys(user) if path != conf)
    return ConfigPaths(conf=conf, recipes=top / "recipes", user=distinct, named=named, cwd=start)


def _top() -> Path:
    """Return the top of the checkout, or the folder inside the package if this is a wheel."""
    bundled = _PACKAGE / "_bundled"
    return bundled if (bundled / "conf").is_dir() else _PACKAGE.parent


def _has_groups(folder: Path) -> bool:
    """Return whether it has groups of YAML files; else this `conf/` belongs to another program."""
    return any(folder.glob("*/*.yaml"))
