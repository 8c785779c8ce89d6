"""Tells Hydra about the schema and about the user's folders; the only state that Hydra needs.

Frozen dataclasses become read-only nodes, and read-only nodes refuse every override. So the flag is
cleared on the node, not on the class: Hydra merges into an open tree, and what `load` builds from
it is frozen again. Nodes must have a default instance: a missing one would be re-created read-only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Container

from launcher.config import catalog
from launcher.config.installed import InstalledChoice
from launcher.config.paths import ConfigPaths
from launcher.config.schema import LaunchConfig

SCHEMA = "launch_schema"
_user_folders: ContextVar[tuple[Path, ...]] = ContextVar("user_folders", default=())


class UserFolders(SearchPathPlugin):
    """Appends the user's folders to Hydra's search path, after ours.

    A plugin and not `hydra.searchpath=[...]`, because completion and group listings see it too.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in _user_folders.get():
            search_path.append(provider="user", path=f"file://{folder}")


@contextmanager
def hydra(
    paths: ConfigPaths,
    *,
    roots: Mapping[str, Any] | None = None,
    choices: Iterable[InstalledChoice] = (),
) -> Iterator[None]:
    """Have Hydra ready to compose from `paths`, inside this context only.

    `roots` are further root configs by name, given as values instead of files. A file that defines
    one of `choices` is used; without a file, the choice sets the name of its group and no more.
    """
    ConfigStore.instance().store(name=SCHEMA, node=schema_node())
    added = [each for each in choices if not catalog.files(paths, each.group, each.name)]
    for each in added:
        ConfigStore.instance().store(group=each.group, name=each.name, node={"name": each.name})
    for name, node in (roots or {}).items():
        ConfigStore.instance().store(name=name, node=node)
    Plugins.instance().register(UserFolders)
    OmegaConf.register_new_resolver("recipes_dir", lambda: str(paths.recipes), replace=True)
    token = _user_folders.set(paths.user)
    try:
        with initialize_config_dir(config_dir=str(paths.conf), version_base="1.3"):
            yield
    finally:
        _user_folders.reset(token)
        for each in added:  # the store is global, and a file of this name may come later
            del ConfigStore.instance().repo[each.group][f"{each.name}.yaml"]


def schema_node() -> DictConfig:
    """Return `LaunchConfig` as a node that takes overrides."""
    node = OmegaConf.structured(LaunchConfig)
    assert isinstance(node, DictConfig)
    _open(node)
    return node


def _open(node: DictConfig) -> None:
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _open(child)
        elif isinstance(child, Container):
            OmegaConf.set_readonly(child, None)
