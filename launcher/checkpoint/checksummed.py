"""JSON files that notice when a bit of them has changed.

The first key of a sealed file is `seal`, a digest over the exact bytes of the file with the digits
of the digest itself replaced by zeros. The file stays plain JSON: `cat` and `jq` read it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any, TypeVar

import xxhash

from launcher.specs.codec import from_json

T = TypeVar("T")

_BLANK = b"0" * 32
_SEAL = re.compile(rb'\{\n "seal": "([0-9a-f]{32})",\n')


def digest(data: bytes | memoryview) -> str:
    """Return the 32 hex digits that stand for `data` (XXH3, 128 bits.

    Against accidents, not against attackers).
    """
    return str(xxhash.xxh3_128_hexdigest(data))


def seal(value: Any) -> bytes:
    """Return the sealed JSON text of a frozen record."""
    text = json.dumps({"seal": _BLANK.decode(), **asdict(value)}, indent=1, allow_nan=False)
    raw = text.encode() + b"\n"
    return raw.replace(_BLANK, digest(raw).encode(), 1)


def unseal(kind: type[T], raw: bytes) -> T:
    """Return the record in a sealed file.

    Raises:
        ValueError: the bytes are not what was written, or do not describe a `kind`.
    """
    match = _SEAL.match(raw)
    if match is None:
        raise ValueError("not a sealed record (cut short, or not written by this library)")
    found = match[1]
    if digest(raw.replace(found, _BLANK, 1)).encode() != found:
        raise ValueError("the content does not match its seal: the file was changed or damaged")
    return from_json(kind, raw)
