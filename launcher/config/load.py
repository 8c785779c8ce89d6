"""Composes the configuration, once, where the command was typed. No later step sees Hydra."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from launcher.config import catalog
from launcher.config.build import build, plain
from launcher.config.hydra_errors import FOREIGN, explain
from launcher.config.installed import installed_choices
from launcher.config.overrides import check, parse
from launcher.config.paths import ConfigPaths, find
from launcher.config.program import find_program
from launcher.config.register import hydra
from launcher.config.required import refuse_missing
from launcher.config.rewrite import rewrite
from launcher.config.schema import LaunchConfig
from launcher.errors import ConfigError
from launcher.specs.secrets import holds_a_secret
from launcher.storage import local_root

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadRequest:
    """What was typed, and where."""

    overrides: Sequence[str]
    config_dirs: Sequence[Path] = ()
    cwd: Path | None = None
    require_recipe: bool = True

    @property
    def texts(self) -> tuple[str, ...]:
        """The overrides as Hydra gets them."""
        return rewrite(self.overrides)


def load(
    overrides: Sequence[str],
    *,
    config_dirs: Sequence[Path] = (),
    require_recipe: bool = True,
    cwd: Path | None = None,
) -> LaunchConfig:
    """Return the configuration that `overrides` ask for, checked, with absolute paths.

    With `require_recipe` there must be a recipe that names its program. Without, both may be empty:
    the verbs that only read a run folder need no more.

    Raises:
        ConfigError: something cannot be, is not known, or is missing; the hint says what to type.
    """
    request = LoadRequest(
        overrides=overrides, config_dirs=config_dirs, cwd=cwd, require_recipe=require_recipe
    )
    return load_from(request)


def load_from(
    request: LoadRequest, *, name: str = "config", node: Mapping[str, Any] | None = None
) -> LaunchConfig:
    """Load with the root config `name`: a file of ours, or `node` when that is given."""
    parsed = parse(request.texts)
    paths = find(request.config_dirs, cwd=request.cwd)
    choices_added = installed_choices(parsed, catalog.groups(paths))
    paths = paths.with_folders(each.conf for each in choices_added)
    groups = catalog.groups(paths, choices_added)
    check(parsed, groups)
    try:
        with hydra(paths, roots={name: node} if node else {}, choices=choices_added):
            composed = compose(name, list(request.texts), return_hydra_config=True)
        values, choices = _resolved(composed)
    except FOREIGN as error:
        raise explain(error, request.texts, groups) from error
    _warn_of_hidden_files(paths, choices)
    refuse_missing(values, choices, paths)
    if not values["recipe"]["name"]:
        values["recipe"]["name"] = choices.get("recipe") or ""
    return _finish(build(LaunchConfig, values), paths, require_recipe=request.require_recipe)


def _resolved(node: DictConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """Split Hydra's own part off: only what it chose is of interest."""
    choices = dict(node.hydra.runtime.choices)
    OmegaConf.set_struct(node, value=False)
    del node["hydra"]
    values = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}, choices


def _warn_of_hidden_files(paths: ConfigPaths, choices: Mapping[str, str | None]) -> None:
    for group, choice in choices.items():
        used, *hidden = catalog.files(paths, group, str(choice)) or (None,)
        for file in hidden:
            log.warning("`%s=%s` is read from %s; %s is not used", group, choice, used, file)
    for folder in paths.user:
        if (folder / "config.yaml").is_file():
            log.warning(
                "%s is not used: only the groups of a user's folder are", folder / "config.yaml"
            )


def _finish(config: LaunchConfig, paths: ConfigPaths, *, require_recipe: bool) -> LaunchConfig:
    _refuse_passwords(plain(config), "")
    config = _with_absolute_paths(config, paths.cwd)
    if not require_recipe:
        return config
    program = find_program(config, paths)
    recipe = dataclasses.replace(config.recipe, program=str(program))
    return dataclasses.replace(config, recipe=recipe)


def _with_absolute_paths(config: LaunchConfig, cwd: Path) -> LaunchConfig:
    """A run may be resumed from elsewhere, so that nothing saved may depend on where one stands."""
    root = str(local_root(config.storage.root, cwd))
    data = dataclasses.replace(
        config.data,
        source=_absolute(config.data.source, cwd),
        train=_absolute(config.data.train, cwd),
        test=_absolute(config.data.test, cwd),
    )
    return dataclasses.replace(
        config,
        storage=dataclasses.replace(config.storage, root=root),
        cluster=dataclasses.replace(
            config.cluster, hostfile=_absolute(config.cluster.hostfile, cwd)
        ),
        model=dataclasses.replace(config.model, source=_absolute(config.model.source, cwd)),
        data=data,
    )


def _absolute(source: str, cwd: Path) -> str:
    return source if not source or "://" in source else str(cwd / Path(source).expanduser())


def _refuse_passwords(value: Any, key: str) -> None:
    """A config is printed and written to the run folder, so it may hold no secret."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            _refuse_passwords(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for item in value:
            _refuse_passwords(item, key)
    elif isinstance(value, str) and holds_a_secret(value):
        raise ConfigError(
            f"`{key}` holds a password in a URI, and secrets never stand on a command line",
            hint="leave it out of the URI: credentials come from the environment",
        )
