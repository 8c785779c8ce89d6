"""Where `conf/` and `recipes/` are: ours, and the user's beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class ConfigPaths:
    """The folders that configuration is read from."""

    conf: Path
    """Ours."""
    recipes: Path
    """Folder of the recipes' programs."""
    user: tuple[Path, ...] = ()
    """The user's, in the order given; they add files, and ours are used where both have one."""
    cwd: Path
    """Where the user stands: relative paths on the command line start here."""

    def with_folders(self, folders: Iterable[Path]) -> ConfigPaths:
        """Return these folders and, after the user's, those of `folders` that exist."""
        more = (each for each in folders if each.is_dir())
        return replace(self, user=tuple(dict.fromkeys((*self.user, *more))))

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.conf, *self.user)


def find(config_dirs: Sequence[Path] = (), *, cwd: Path | None = None) -> ConfigPaths:
    """Find our folders, and check the user's.

    Raises:
        ConfigError: a folder of `config_dirs` does not exist.
    """
    here = (cwd or Path.cwd()).resolve()
    top = _top()
    conf = (top / "conf").resolve()
    user: list[Path] = []
    for folder in config_dirs:
        absolute = (here / folder).resolve()
        if not absolute.is_dir():
            raise ConfigError(
                f"`--config-dir {folder}`: there is no such folder",
                context=f"looked for {absolute}",
                hint="name the folder that holds `recipe/`, `model/` ... with your yaml files",
            )
        user.append(absolute)
    beside = here / "conf"
    if _holds_groups(beside):
        user.append(beside)
    distinct = tuple(path for path in dict.fromkeys(user) if path != conf)
    return ConfigPaths(conf=conf, recipes=top / "recipes", user=distinct, cwd=here)


def _top() -> Path:
    """In a checkout both stand at its top level; in a wheel they travel inside the package."""
    bundled = _PACKAGE / "_bundled"
    return bundled if (bundled / "conf").is_dir() else _PACKAGE.parent


def _holds_groups(folder: Path) -> bool:
    """A `conf/` beside the user may belong to something else: ours has groups of yaml files."""
    return any(folder.glob("*/*.yaml"))
