"""What arrived: every file of a snapshot with its size and digests, and the check against it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.files import replace
from launcher.specs import from_json, to_json

__all__ = [
    "MANIFEST_NAME",
    "FileEntry",
    "Manifest",
    "check_digests",
    "check_sizes",
    "describe",
    "read_manifest",
    "sha256_of",
    "write_manifest",
]

MANIFEST_NAME = ".launcher-manifest.json"
_BLOCK_BYTES = 4 << 20
_READERS = 4


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a snapshot."""

    path: str
    """Relative to the snapshot, with `/`."""
    size_bytes: int
    xxh3: str
    """XXH3-128 of the content, as hex: fast, against damage."""
    sha256: str = ""
    """Where the source or the config told it and it was compared."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The marker of a complete snapshot; a folder without it does not count."""

    schema: int = 1
    name: str
    key: str
    uri: str
    """Where it came from, without secrets."""
    revision: str = ""
    """What the source resolved the request to: a commit, a version."""
    at: float
    """When it was staged, seconds since the epoch."""
    files: tuple[FileEntry, ...]

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.files)


def describe(folder: Path, sha256: Mapping[str, str]) -> tuple[FileEntry, ...]:
    """Read every file below `folder` and return its entries, sorted by path.

    `sha256` holds the digests that were compared while the files came in.
    """
    paths = sorted(_files(folder))
    return tuple(
        FileEntry(
            path=path,
            size_bytes=(folder / path).stat().st_size,
            xxh3=digest,
            sha256=sha256.get(path, ""),
        )
        for path, digest in zip(paths, _digests(folder, paths), strict=True)
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the marker into `folder`; only a complete folder may have one."""
    replace(folder / MANIFEST_NAME, to_json(manifest, indent=1), durable=True)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of `folder`, or None when it has none that can be read."""
    try:
        return from_json(Manifest, (folder / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError):
        return None


def check_sizes(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Return what is wrong with `folder` as far as names and sizes tell; takes milliseconds."""
    return tuple(
        problem for entry in manifest.files if (problem := _check_size(folder, entry)) is not None
    )


def check_digests(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Return what is wrong with `folder`, by reading every byte of it."""
    wrong = check_sizes(folder, manifest)
    if wrong:
        return wrong
    digests = _digests(folder, [entry.path for entry in manifest.files])
    return tuple(
        f"`{entry.path}` has another content than when it was staged"
        for entry, digest in zip(manifest.files, digests, strict=True)
        if digest != entry.xxh3
    )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as hex."""
    return _digest(path, hashlib.sha256)


def xxh3_of(path: Path) -> str:
    """Return the XXH3-128 of a file, as hex."""
    import xxhash  # noqa: PLC0415  the command line must start without it

    return _digest(path, xxhash.xxh3_128)


def _digests(folder: Path, paths: Sequence[str]) -> list[str]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  only who reads files waits

    with ThreadPoolExecutor(_READERS, thread_name_prefix="digest") as pool:
        return list(pool.map(lambda path: xxh3_of(folder / path), paths))


def _digest(path: Path, kind: Callable[[], Any]) -> str:
    digest = kind()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return str(digest.hexdigest())


def _check_size(folder: Path, entry: FileEntry) -> str | None:
    try:
        found = (folder / entry.path).lstat()
    except OSError:
        return f"`{entry.path}` is missing"
    if not stat.S_ISREG(found.st_mode):
        return f"`{entry.path}` is no longer a file"
    if found.st_size != entry.size_bytes:
        return f"`{entry.path}` has {found.st_size} bytes instead of {entry.size_bytes}"
    return None


def _files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            if relative != MANIFEST_NAME and not path.is_symlink():
                yield relative
