"""From plain values to the frozen tree."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a `kind` from a mapping that has the shape of its schema.

    Not `OmegaConf.to_object`, which leaves lists where the fields say tuples: a frozen value must
    compare and hash by what it says.
    """
    hints = typing.get_type_hints(kind)
    return kind(**{name: _convert(hints[name], value) for name, value in values.items()})


def plain(value: Any) -> Any:
    """Return the tree as dicts, lists, texts and numbers, ready for YAML or JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, enum.StrEnum) else value


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
