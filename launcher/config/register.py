"""Between Hydra and our frozen dataclasses: the schema as a node, the user's folders, the way back.

Frozen dataclasses become read-only nodes, and read-only nodes refuse every override. So the flag is
cleared on the node, not on the class: Hydra merges into an open tree, and `build` makes frozen
values from the result. Each nested dataclass needs a default instance, because Hydra would create a
missing one read-only.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Container

from launcher.config.files import TextFiles
from launcher.config.paths import ConfigPaths
from launcher.config.schema import LaunchConfig

SCHEMA = "launch_schema"
_user_folders: ContextVar[tuple[Path, ...]] = ContextVar("user_folders", default=())

T = TypeVar("T")


class UserFolders(SearchPathPlugin):
    """Appends the user's folders to Hydra's search path, after ours.

    A plugin instead of `hydra.searchpath=[...]`, so that completion and lists of choices see them.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in _user_folders.get():
            search_path.append(provider="user", path=f"{TextFiles.scheme()}://{folder}")


@contextmanager
def hydra(paths: ConfigPaths, *, nodes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Make Hydra ready to compose from `paths`, inside this context only.

    `nodes` are further configs given as values instead of files: `saved_run`, `cluster/pbs`.
    """
    store = ConfigStore.instance()
    store.store(name=SCHEMA, node=schema_node())
    for name, node in (nodes or {}).items():
        group, _, choice = name.rpartition("/")
        store.store(group=group or None, name=choice, node=node)
    Plugins.instance().register(TextFiles)
    Plugins.instance().register(UserFolders)
    OmegaConf.register_new_resolver("recipes_dir", lambda: str(paths.recipes), replace=True)
    token = _user_folders.set(paths.user)
    try:
        with initialize_config_dir(config_dir=str(paths.conf), version_base="1.3"):
            yield
    finally:
        _user_folders.reset(token)
        for name in nodes or {}:  # the store is global: a later file may define the same choice
            store.repo.pop(name.partition("/")[0], None)


def schema_node() -> DictConfig:
    """Return `LaunchConfig` as a node that takes overrides."""
    node = OmegaConf.structured(LaunchConfig)
    assert isinstance(node, DictConfig)
    _open(node)
    return node


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a frozen `kind` from a mapping that has the shape of its schema.

    Not `OmegaConf.to_object`, which keeps lists where the fields are tuples: frozen values must be
    comparable and hashable.
    """
    hints = typing.get_type_hints(kind)
    return kind(**{name: _convert(hints[name], value) for name, value in values.items()})


def plain(value: Any) -> Any:
    """Return the tree as dicts, lists, strings and numbers, ready for YAML or JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, enum.StrEnum) else value


def _open(node: DictConfig) -> None:
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _open(child)
        elif isinstance(child, Container):
            OmegaConf.set_readonly(child, None)


def _convert(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return build(kind, value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and not isinstance(value, kind):
        return kind(value)
    if isinstance(value, list) and _is_sequence(kind):
        return tuple(value)
    return value


def _is_sequence(kind: Any) -> bool:
    origin = typing.get_origin(kind)
    return origin is tuple or origin is Sequence
