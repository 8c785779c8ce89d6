"""The configuration of an existing run: written to its folder, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from launcher.config.files import read
from launcher.config.load import LoadRequest, load_from
from launcher.config.register import plain
from launcher.config.schema import LaunchConfig
from launcher.errors import ConfigError
from launcher.runs.command_line import escaped

_NAME = "saved_run"
_GROUPS: dict[str, str | None] = {
    "cluster": "local",
    "backend": "torchrun",
    "model": None,
    "data": None,
    "recipe": None,
}


class _Dumper(yaml.SafeDumper):
    r"""Writes a NEL as `\N`: PyYAML leaves it as it is, and reads it back as a blank."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if "\x85" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
_PROGRAM = {"script", "module"}


def dump(config: LaunchConfig) -> str:
    """Return the resolved configuration as YAML, for the ranks and for `resume`."""
    return yaml.dump(plain(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def load_saved(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    config_dirs: Sequence[Path] = (),
    cwd: Path | None = None,
) -> LaunchConfig:
    """Return the configuration saved in `file`, with `overrides` on top.

    Raises:
        ConfigError: the file cannot be read, or an override is invalid.
    """
    saved = read_saved(file)
    request = LoadRequest(overrides=overrides, config_dirs=config_dirs, cwd=cwd)
    typed = {text.lstrip("+").partition("=")[0] for text in request.texts}
    # A group in the overrides replaces its section; otherwise saved values override the group's.
    kept = {key: _literal(value) for key, value in saved.items() if key not in typed & set(_GROUPS)}
    if typed & _PROGRAM:  # another program than the saved one, of which nothing may stay
        kept |= dict.fromkeys(_PROGRAM, "")
        kept["recipe"] = {**kept.get("recipe", {}), "program": "${script}"}
    defaults = ["launch_schema", *({group: choice} for group, choice in _GROUPS.items()), "_self_"]
    return load_from(request, name=_NAME, node={"defaults": defaults, **kept})


def read_saved(file: Path) -> dict[str, Any]:
    """Return the configuration in `file` as plain values.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        saved = read(file)
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8
        raise ConfigError(
            "cannot read the run's configuration",
            context=str(error),
            hint=f"check {file}, or start a new run",
        ) from error
    if not isinstance(saved, dict):
        raise ConfigError(
            "the run's configuration is empty", context=str(file), hint="start a new run"
        )
    return saved


def _literal(value: Any) -> Any:
    """Escape `${`: saved values are resolved, so it is not a reference."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value
