"""Which file the ranks will run."""

from __future__ import annotations

from pathlib import Path

from launcher.config import catalog
from launcher.config.paths import ConfigPaths
from launcher.config.schema import LaunchConfig
from launcher.errors import ConfigError


def find_program(config: LaunchConfig, paths: ConfigPaths) -> Path:
    """Return the absolute path of the recipe's program; whether it is there, preflight tells.

    A relative path starts where the user stands. That of a recipe of the user's own may also start
    beside the folder that its file came from, so that `--config-dir project/conf` works anywhere.

    Raises:
        ConfigError: no recipe was named, or it names no program.
    """
    if not config.recipe.name:
        _refuse_no_recipe(config, paths)
    if not config.recipe.program:
        _refuse_no_program(config)
    program = Path(config.recipe.program).expanduser()
    places = [base / program for base in _bases(config, paths)]
    return next((place for place in places if place.is_file()), places[0]).absolute()


def _bases(config: LaunchConfig, paths: ConfigPaths) -> list[Path]:
    bases = [paths.cwd]
    if not config.script:
        for file in catalog.files(paths, "recipe", config.recipe.name)[:1]:
            conf = file.parent.parent
            bases += [conf.parent] if conf in paths.user else []
    return bases


def _refuse_no_recipe(config: LaunchConfig, paths: ConfigPaths) -> None:
    known = catalog.groups(paths).get("recipe", ())
    example = f"recipe={(*known, 'NAME')[0]} nodes=4"
    if config.script:
        example = f"recipe=script script={config.script}"
    raise ConfigError(
        "no recipe was named",
        context=f"recipes here: {', '.join(known)}" if known else "",
        hint=f"say what to train: `launcher {example}`; `launcher --help` shows more",
    )


def _refuse_no_program(config: LaunchConfig) -> None:
    if config.recipe.name == "script":
        raise ConfigError(
            "`recipe=script` needs the script",
            hint="`python -m launcher recipe=script script=train.py 'args=[--epochs,1]' nodes=2`",
        )
    raise ConfigError(
        f"recipe `{config.recipe.name}` names no program",
        hint="its file needs `recipe: {program: train.py}` under `# @package _global_`",
    )
