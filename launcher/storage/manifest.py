"""The manifest of a staged folder: its files with sizes and digests, and the check against it."""

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
    "SnapshotFile",
    "SnapshotManifest",
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
class SnapshotFile:
    """One file of a staged folder."""

    path: str
    """Relative to the folder, with `/`."""
    size_bytes: int
    xxh3: str
    """XXH3-128 of the content, as hex: fast, and detects damage."""
    sha256: str = ""
    """Set if the source or the config gave it. It was then compared."""


@dataclass(frozen=True, kw_only=True)
class SnapshotManifest:
    """Marks a staged folder as complete. A folder without it is not used."""

    schema: int = 1
    name: str
    key: str
    uri: str
    """The source, without secrets."""
    revision: str = ""
    """The commit or version that the source gave for the request."""
    at: float
    """When it was staged, in seconds since the epoch."""
    files: tuple[SnapshotFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.files)


def describe(folder: Path, sha256: Mapping[str, str]) -> tuple[SnapshotFile, ...]:
    """Read every file below `folder` and return their entries, sorted by path.

    `sha256` has the digests that were compared during the transfer.
    """
    paths = sorted(_files(folder))
    return tuple(
        SnapshotFile(
            path=path,
            size_bytes=(folder / path).stat().st_size,
            xxh3=digest,
            sha256=sha256.get(path, ""),
        )
        for path, digest in zip(paths, _digests(folder, paths), strict=True)
    )


def write_manifest(folder: Path, manifest: SnapshotManifest) -> None:
    """Write the manifest of `folder`, which must be complete."""
    replace(folder / MANIFEST_NAME, to_json(manifest, indent=1), durable=True)


def read_manifest(folder: Path) -> SnapshotManifest | None:
    """Return the manifest of `folder`, or None if there is none that can be read."""
    try:
        return from_json(SnapshotManifest, (folder / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError):
        return None


def check_sizes(folder: Path, manifest: SnapshotManifest) -> tuple[str, ...]:
    """Return which files of `folder` are missing or have the wrong size. Takes milliseconds."""
    return tuple(
        problem for entry in manifest.files if (problem := _check_size(folder, entry)) is not None
    )


def check_digests(folder: Path, manifest: SnapshotManifest) -> tuple[str, ...]:
    """Return which files of `folder` have changed. Reads every byte."""
    problems = check_sizes(folder, manifest)
    if problems:
        return problems
    digests = _digests(folder, [entry.path for entry in manifest.files])
    return tuple(
        f"the content of `{entry.path}` has changed since it was staged"
        for entry, digest in zip(manifest.files, digests, strict=True)
        if digest != entry.xxh3
    )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as hex."""
    return _digest(path, hashlib.sha256)


def xxh3_of(path: Path) -> str:
    """Return the XXH3-128 of a file, as hex."""
    import xxhash  # noqa: PLC0415  keeps start-up light

    return _digest(path, xxhash.xxh3_128)


def _digests(folder: Path, paths: Sequence[str]) -> list[str]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  keeps start-up light

    with ThreadPoolExecutor(_READERS, thread_name_prefix="digest") as pool:
        return list(pool.map(lambda path: xxh3_of(folder / path), paths))


def _digest(path: Path, kind: Callable[[], Any]) -> str:
    digest = kind()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return str(digest.hexdigest())


def _check_size(folder: Path, entry: SnapshotFile) -> str | None:
    try:
        status = (folder / entry.path).lstat()
    except OSError:
        return f"`{entry.path}` is missing"
    if not stat.S_ISREG(status.st_mode):
        return f"`{entry.path}` is no longer a file"
    if status.st_size != entry.size_bytes:
        return f"`{entry.path}`: expected {entry.size_bytes} bytes, got {status.st_size}"
    return None


def _files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            if relative != MANIFEST_NAME and not path.is_symlink():
                yield relative
