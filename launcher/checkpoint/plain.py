"""Logical state as JSON, without loss: the decoded value equals the encoded one, with its types.

Plain JSON would turn tuples into lists and integer keys into strings, and has no infinities. Such
values become an object with one key that starts with `$`. Nothing is pickled, so a checkpoint
cannot run code.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

_TUPLE, _PAIRS, _FLOAT, _COUNTER = "$tuple", "$dict", "$float", "$counter"


def encode(value: Any, where: str = "state") -> Any:
    """Return `value` in the types of JSON.

    Raises:
        TypeError: a value has no JSON form; the message says which.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return _encode_mapping(value, where)
    if isinstance(value, list | tuple | deque):
        items = [encode(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    return _encode_number(value, where)


def decode(value: Any) -> Any:
    """Undo `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if len(value) == 1:
            ((tag, content),) = value.items()
            if tag in _DECODERS:
                return _DECODERS[tag](content)
        return {key: decode(item) for key, item in value.items()}
    return value


def fingerprint(value: Any) -> str:
    """Return a digest of an encoded value. Equal values have equal digests on every rank."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _encode_mapping(value: Mapping[Any, Any], where: str) -> Any:
    if isinstance(value, Counter):
        return {_COUNTER: _encode_pairs(value, where)}
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: encode(item, f"{where}.{key}") for key, item in value.items()}
    return {_PAIRS: _encode_pairs(value, where)}


def _encode_pairs(value: Mapping[Any, Any], where: str) -> list[Any]:
    return [
        [encode(key, f"key of {where}"), encode(item, f"{where}.{key}")]
        for key, item in value.items()
    ]


def _encode_number(value: Any, where: str) -> Any:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_FLOAT: repr(float(value))}
    item = getattr(value, "item", None)  # a scalar of numpy or torch, without importing either
    if callable(item) and getattr(value, "shape", None) in ((), None):
        plain = item()
        if isinstance(plain, bool | int | float | str):
            return encode(plain, where)
    raise TypeError(f"`{where}` is a {type(value).__name__}, which has no JSON form")


_DECODERS: dict[str, Callable[[Any], Any]] = {
    _TUPLE: lambda items: tuple(decode(item) for item in items),
    _FLOAT: float,
    _PAIRS: lambda pairs: {decode(key): decode(item) for key, item in pairs},
    _COUNTER: lambda pairs: Counter({decode(key): decode(item) for key, item in pairs}),
}
