"""Conversion of frozen dataclasses to JSON and back, by their annotations.

It supports what the specs use: dataclasses, str, int, float, bool, None, StrEnum,
`tuple[X, ...]`, `dict[str, X]` and `X | None`. Unknown keys are ignored, so an older launcher can
read the files of a newer one. Missing keys take the default.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from json import dumps  # bound here: a rank writes its end after a program that may replace it
from typing import Any, TypeVar

T = TypeVar("T")
Build = Callable[[Any], Any]


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return the dataclass `value` as JSON text."""
    # not `asdict`, which first copies every string of a plan of ten thousand nodes
    return dumps(value, default=_fields, indent=indent)


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def from_json(kind: type[T], text: str | bytes) -> T:
    """Build a `kind` from JSON text.

    Raises:
        ValueError: the text is not JSON, or does not have the shape of `kind`.
    """
    return from_plain(kind, json.loads(text))


def from_plain(kind: type[T], value: Any) -> T:
    """Build a `kind` from the dicts, lists, texts and numbers that JSON has.

    Raises:
        ValueError: the value does not have the shape of `kind`.
    """
    try:
        return typing.cast(T, _build(kind, value))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error


def _build(kind: Any, value: Any) -> Any:
    return _builder(kind)(value)


@functools.cache  # a supervisor reads the records of thousands of ranks twice a second
def _builder(kind: Any) -> Build:
    """Return the function that converts a JSON value to a `kind`."""
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (arg for arg in typing.get_args(kind) if arg is not type(None))
        return _optional(_builder(inner))
    if origin is tuple:
        (item, _) = typing.get_args(kind)
        return _items(_builder(item))
    if origin is dict:
        (_, item) = typing.get_args(kind)
        return _values(_builder(item))
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    return _scalar(kind)


def _optional(build: Build) -> Build:
    return lambda value: None if value is None else build(value)


def _items(build: Build) -> Build:
    return lambda value: tuple(build(element) for element in value)


def _values(build: Build) -> Build:
    return lambda value: {key: build(element) for key, element in value.items()}


def _dataclass(kind: Any) -> Build:
    hints = typing.get_type_hints(kind)
    known = {field.name: _builder(hints[field.name]) for field in dataclasses.fields(kind)}

    def build(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected an object for {kind.__name__}, got {type(value).__name__}")
        return kind(**{name: known[name](item) for name, item in value.items() if name in known})

    return build


def _scalar(kind: Any) -> Build:
    def build(value: Any) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if kind is not Any and type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, got {value!r}")
        return value

    return build
