"""Checksummed records: JSON files that show when a bit of them has changed.

The first key of such a file is `seal`, a digest of the exact bytes of the file with the digits of
the digest itself replaced by zeros. The file stays plain JSON: `cat` and `jq` read it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import xxhash

from launcher.checkpoint.files import Files
from launcher.specs.codec import from_json

T = TypeVar("T")

_BLANK = b"0" * 32
_CHECKSUM = re.compile(rb'\{\n "seal": "([0-9a-f]{32})",\n')


def digest(data: bytes | memoryview) -> str:
    """Return the XXH3-128 digest of `data` as 32 hex digits.

    It detects damage, not attacks.
    """
    return str(xxhash.xxh3_128_hexdigest(data))


def encode_record(value: Any) -> bytes:
    """Return a frozen dataclass as checksummed JSON."""
    text = json.dumps({"seal": _BLANK.decode(), **asdict(value)}, indent=1, allow_nan=False)
    raw = text.encode() + b"\n"
    return raw.replace(_BLANK, digest(raw).encode(), 1)


def decode_record(kind: type[T], raw: bytes) -> T:
    """Return the record of type `kind` in `raw`.

    Raises:
        ValueError: the bytes have changed since they were written, or do not describe a `kind`.
    """
    match = _CHECKSUM.match(raw)
    if match is None:
        raise ValueError("not a record with a checksum (cut short, or not written by this library)")
    checksum = match[1]
    if digest(raw.replace(checksum, _BLANK, 1)).encode() != checksum:
        raise ValueError("the content does not match its checksum: the file is damaged or edited")
    return from_json(kind, raw)


def write_record(files: Files, path: Path, content: bytes, *, tag: str = "") -> None:
    """Publish a small file durably. A reader sees all of it or nothing.

    Raises:
        FileExistsError: the name is taken; the existing file stays.
    """
    temporary = path.parent / f".{path.name}.{tag or os.urandom(6).hex()}.tmp"
    try:
        put(files, temporary, content)
        files.publish(temporary, path)
    except OSError:
        files.remove(temporary)
        raise
    files.sync_folder(path.parent)


def put(files: Files, path: Path, content: bytes) -> None:
    """Write a new file with durable content. Its name is durable only after `sync_folder`."""
    writer = files.create(path)
    try:
        writer.write([memoryview(content)])
    except BaseException:
        writer.abandon()
        raise
    writer.close()
