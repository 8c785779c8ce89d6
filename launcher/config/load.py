"""Composes the configuration with Hydra, once, where the command was typed."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from launcher.config.hydra_errors import FOREIGN, explain
from launcher.config.installed import installed_choices
from launcher.config.overrides import check, parse
from launcher.config.paths import ConfigPaths, expand_homes, find
from launcher.config.register import build, hydra
from launcher.config.required import find_program, refuse_missing, refuse_other_than_text
from launcher.config.rewrite import rewrite
from launcher.config.schema import LaunchConfig
from launcher.config.secrets import lift, require
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

    With `require_recipe`, there must be a recipe that has a program. Verbs that only read a run
    folder need neither.

    Secrets in it are replaced by references. Their values go into the environment of this process.

    Raises:
        ConfigError: a value is invalid, unknown or missing; the hint says what to type.
    """
    request = LoadRequest(
        overrides=overrides, config_dirs=config_dirs, cwd=cwd, require_recipe=require_recipe
    )
    return load_from(request)


def load_from(
    request: LoadRequest, *, name: str = "config", node: Mapping[str, Any] | None = None
) -> LaunchConfig:
    """Load with the root config `name`: one of our files, or `node` if that is given."""
    parsed = parse(request.texts)
    paths = find(request.config_dirs, cwd=request.cwd)
    installed = installed_choices(parsed, paths.groups())
    paths = paths.with_folders(each.conf for each in installed)
    groups = paths.groups(installed)
    check(parsed, groups)
    nodes: dict[str, Any] = {name: node} if node else {}
    for each in installed:
        if not paths.files(each.group, each.name):
            nodes[f"{each.group}/{each.name}"] = {"name": each.name}
    try:
        with hydra(paths, nodes=nodes):
            composed = compose(name, list(request.texts), return_hydra_config=True)
        values, choices = _resolved(composed)
    except (*FOREIGN, ValueError, RecursionError) as error:
        explained = explain(error, request.overrides, paths, groups)
        if explained is None:
            raise
        raise explained from error
    _warn_about_unused_files(paths, choices, {each.key_or_group for each in parsed})
    refuse_missing(values, choices, paths)
    refuse_other_than_text(values)
    if not values["recipe"]["name"]:
        values["recipe"]["name"] = choices.get("recipe") or ""
    expand_homes(values)
    return _finish(build(LaunchConfig, values), paths, require_recipe=request.require_recipe)


def _resolved(node: DictConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values, and the choice of each group; drop the rest of Hydra's own part."""
    choices = dict(node.hydra.runtime.choices)
    OmegaConf.set_struct(node, value=False)
    del node["hydra"]
    values = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}, choices


def _warn_about_unused_files(
    paths: ConfigPaths, choices: Mapping[str, str | None], typed: Collection[str]
) -> None:
    """Warn about the user's files that have no effect.

    A `conf/` in the current folder may be that of another Hydra program: nothing is said about it,
    unless this run reads a file of it, or the user typed a choice that it has, too.
    """
    used = {group: paths.files(group, str(choice)) for group, choice in choices.items()}
    ours = {folder for folder in paths.user for file in used.values() if _is_first(folder, file)}
    ours |= set(paths.named)
    for group, files in used.items():
        for file in files[1:]:
            if group in typed or any(file.is_relative_to(folder) for folder in ours):
                log.warning(
                    "`%s=%s` is read from %s; %s is not used", group, choices[group], files[0], file
                )
    for folder in paths.user:
        if folder in ours and (folder / "config.yaml").is_file():
            log.warning(
                "%s is not used: only the groups in a user's folder are", folder / "config.yaml"
            )


def _is_first(folder: Path, files: Sequence[Path]) -> bool:
    return bool(files) and files[0].is_relative_to(folder)


def _finish(config: LaunchConfig, paths: ConfigPaths, *, require_recipe: bool) -> LaunchConfig:
    config, secrets = lift(config, os.environ)
    os.environ.update(secrets)  # from here on, they reach the ranks as all exported secrets do
    config = _with_absolute_paths(config, paths.cwd)
    if not require_recipe:
        return config
    require(config, os.environ)
    program = find_program(config, paths)
    recipe = dataclasses.replace(config.recipe, program=program)
    return dataclasses.replace(config, recipe=recipe)


def _with_absolute_paths(config: LaunchConfig, cwd: Path) -> LaunchConfig:
    """A run may be resumed from another folder, so no saved path may be relative."""
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
    return source if not source or "://" in source else str(cwd / source)
