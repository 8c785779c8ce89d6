"""Checks after composing: the values that only the user can give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from launcher.config.keys import all_keys, is_list_of_texts, is_named_texts
from launcher.config.paths import ConfigPaths
from launcher.config.schema import LaunchConfig
from launcher.errors import ConfigError

_MISSING = "???"


def refuse_missing(
    values: Mapping[str, Any], choices: Mapping[str, str | None], paths: ConfigPaths
) -> None:
    """Refuse a configuration that leaves a `???` of a chosen file unset.

    OmegaConf does not: merged onto a field of the schema, `???` keeps the field's default.

    Raises:
        ConfigError: values are missing; the message names their keys.
    """
    for group, choice in choices.items():
        for file in paths.files(group, str(choice))[:1]:
            text = file.read_text(encoding="utf-8")
            prefix = "" if "@package _global_" in text else f"{group}."
            content = yaml.safe_load(text) if _MISSING in text else None
            unset = [key for key in _required(content, prefix) if not _get(values, key)]
            if unset:
                raise ConfigError(
                    f"`{group}={choice}` needs {', '.join(f'`{key}`' for key in unset)}",
                    hint=f"add {' '.join(f'{key}=...' for key in unset)}",
                )


def refuse_other_than_text(values: Mapping[str, Any]) -> None:
    """Refuse arguments and variables that no program can receive.

    OmegaConf does not check the items of a list that a reference (`args: ${params.list}`) names.

    Raises:
        ConfigError: an item is not text, or contains a NUL byte; the message names its key.
    """
    for key in all_keys():
        found = _get(values, key)
        if is_list_of_texts(key):
            found = {f"{key}[{number}]": item for number, item in enumerate(found)}
        elif is_named_texts(key):
            found = {f"{key}.{name}": item for name, item in found.items()}
        else:
            continue
        for name, item in found.items():
            if not isinstance(item, str):
                raise ConfigError(
                    f"`{name}`: expected text, got {item!r}",
                    hint="quote it where it is defined, or refer to each value by itself",
                )
            if "\0" in item:
                raise ConfigError(f"`{name}` contains a NUL byte", hint="remove it")


def find_program(config: LaunchConfig, paths: ConfigPaths) -> str:
    """Return the absolute path of the recipe's program. Preflight checks that it exists.

    Empty with `module=`, which is looked up where the run is started.

    A relative path starts at the current folder. For a recipe in a user's `conf/`, it may also
    start at the parent of that `conf/`, so that `--config-dir project/conf` works from anywhere.

    Raises:
        ConfigError: no recipe was given, or the recipe has no program.
    """
    if not config.recipe.name:
        raise _no_recipe(config, paths)
    if config.module:
        return ""
    if not config.recipe.program:
        raise _no_program(config)
    program = Path(config.recipe.program).expanduser()
    candidates = [folder / program for folder in _folders(config, paths)]
    return str(next((path for path in candidates if path.is_file()), candidates[0]).absolute())


def _required(content: Any, prefix: str) -> Iterator[str]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if value == _MISSING:
                yield f"{prefix}{key}"
            else:
                yield from _required(value, f"{prefix}{key}.")


def _get(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _folders(config: LaunchConfig, paths: ConfigPaths) -> list[Path]:
    folders = [paths.cwd]
    if not config.script:
        for file in paths.files("recipe", config.recipe.name)[:1]:
            conf = file.parent.parent
            folders += [conf.parent] if conf in paths.user else []
    return folders


def _no_recipe(config: LaunchConfig, paths: ConfigPaths) -> ConfigError:
    recipes = paths.groups().get("recipe", ())
    example = f"recipe={(*recipes, 'NAME')[0]} nodes=4"
    if config.script:
        example = f"recipe=script script={config.script}"
    if config.module:
        example = f"recipe=script module={config.module}"
    return ConfigError(
        "expected a recipe, got none",
        context=f"recipes: {', '.join(recipes)}" if recipes else "",
        hint=f"say what to train: `launcher {example}`; `launcher --help` shows more",
    )


def _no_program(config: LaunchConfig) -> ConfigError:
    if config.recipe.name == "script":
        return ConfigError(
            "`recipe=script` needs a script or a module",
            hint="`python -m launcher recipe=script script=train.py 'args=[--epochs,1]' nodes=2`, "
            "or `module=pkg.train` for what you start with `python -m pkg.train`",
        )
    return ConfigError(
        f"recipe `{config.recipe.name}` has no program",
        hint="add `recipe: {program: train.py}` to its file, under `# @package _global_`",
    )
