"""From the settings of model and data to the items to stage. Reads no files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.specs import StageItem
from launcher.staging.config import DataConfig, ModelConfig

__all__ = ["items"]


def items(
    model: ModelConfig, data: DataConfig, *, base: Path | None = None
) -> tuple[StageItem, ...]:
    """Return the items that the ranks need. Each comes after the items that it `needs`.

    Relative paths become absolute, from `base` or the current folder, because a run may be resumed
    from another folder.
    """
    start = base or Path.cwd()
    return (*_data_items(data, start), *_model_items(model, start))


def _model_items(model: ModelConfig, base: Path) -> tuple[StageItem, ...]:
    if not model.source:
        return ()
    item = StageItem(
        name="model",
        uri=_absolute(model.source, base),
        revision=model.revision,
        include=tuple(model.include),
        strip=model.strip,
        sha256=model.sha256.lower(),
        options=_strings(model.options),
        needs=tuple(model.needs),
    )
    return (item,)


def _data_items(data: DataConfig, base: Path) -> tuple[StageItem, ...]:
    sources = _data_sources(data, base)
    if not sources:
        return ()
    if not data.builder:
        return sources
    columns = {"text": data.text, "label": data.label}
    built = StageItem(
        name="data",
        uri=f"build://{_absolute(data.builder.removeprefix('build://'), base)}",
        options={**columns, **_strings(data.options)},
        needs=tuple(source.name for source in sources),
    )
    return (*sources, built)


def _data_sources(data: DataConfig, base: Path) -> tuple[StageItem, ...]:
    if data.source:
        return (_data_source(data, base),)
    files = (("data_train", data.train), ("data_test", data.test))
    return tuple(StageItem(name=name, uri=_absolute(uri, base)) for name, uri in files if uri)


def _data_source(data: DataConfig, base: Path) -> StageItem:
    return StageItem(
        name="data_source" if data.builder else "data",
        uri=_absolute(data.source, base),
        revision=data.revision,
        include=tuple(data.include),
        sha256=data.sha256.lower(),
        options={} if data.builder else _strings(data.options),
    )


def _absolute(uri: str, base: Path) -> str:
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return str(base / Path(uri).expanduser())
    if scheme == "build":
        return f"build://{base / Path(rest).expanduser()}"
    return uri


def _strings(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the options as strings, for a command line. Booleans are written as in YAML."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in options.items()
    }
