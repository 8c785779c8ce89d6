"""Frozen dataclasses to JSON and back, by their annotations.

Only what the specs use: dataclasses, str, int, float, bool, None, StrEnum, `tuple[X, ...]`,
`dict[str, X]` and `X | None`. Unknown keys are ignored, so that an older launcher reads the files
of a newer one; missing keys take the default.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return `value` (a dataclass of this package) as JSON text."""
    # Not `asdict`, which copies every text of a plan of ten thousand nodes first.
    return json.dumps(value, default=_fields, indent=indent)


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def from_json(kind: type[T], text: str | bytes) -> T:
    """Build a `kind` from JSON text.

    Raises:
        ValueError: the text is no JSON, or does not have the shape of `kind`.
    """
    try:
        return typing.cast(T, _build(kind, json.loads(text)))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error


def _build(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _build_optional(kind, value)
    if origin is tuple:
        (item, _) = typing.get_args(kind)
        return tuple(_build(item, element) for element in value)
    if origin is dict:
        (_, item) = typing.get_args(kind)
        return {key: _build(item, element) for key, element in value.items()}
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    return _scalar(kind, value)


def _build_optional(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
    return _build(inner, value)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build_dataclass(kind: Any, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected an object for {kind.__name__}, got {type(value).__name__}")
    hints = _hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(
        **{name: _build(hints[name], item) for name, item in value.items() if name in known}
    )


def _scalar(kind: Any, value: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is not Any and (type(value) is not kind):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value
