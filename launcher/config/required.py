"""Values that a choice needs and only the user can give: `???` in its file.

OmegaConf would raise for them, but only where nothing was there before: merged onto a field of the
schema, `???` keeps the field's default, and `model=uri` without a source would train no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from launcher.config import catalog
from launcher.config.paths import ConfigPaths
from launcher.errors import ConfigError

_MISSING = "???"


def refuse_missing(
    values: Mapping[str, Any], choices: Mapping[str, str | None], paths: ConfigPaths
) -> None:
    """Refuse a configuration in which a chosen file's `???` was not filled in."""
    for group, choice in choices.items():
        for file in catalog.files(paths, group, str(choice))[:1]:
            text = file.read_text(encoding="utf-8")
            prefix = "" if "@package _global_" in text else f"{group}."
            content = yaml.safe_load(text) if _MISSING in text else None
            empty = [key for key in _wanted(content, prefix) if not _get(values, key)]
            if empty:
                raise ConfigError(
                    f"`{group}={choice}` needs {', '.join(f'`{key}`' for key in empty)}",
                    hint=f"add {' '.join(f'{key}=...' for key in empty)}",
                )


def _wanted(content: Any, prefix: str) -> Iterator[str]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if value == _MISSING:
                yield f"{prefix}{key}"
            else:
                yield from _wanted(value, f"{prefix}{key}.")


def _get(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
