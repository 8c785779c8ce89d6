"""Published snapshots: finding, checking and publishing them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from launcher.files import sync_file, sync_folder
from launcher.specs import StagedItem, StageItem
from launcher.specs.secrets import without_secrets
from launcher.storage import SnapshotManifest, read_manifest
from launcher.storage.manifest import check_digests, check_sizes, describe, write_manifest

__all__ = ["find", "publish", "seal", "verify"]


def find(target: Path) -> SnapshotManifest | None:
    """Return the manifest of a complete snapshot at `target`, by names and sizes; milliseconds."""
    manifest = read_manifest(target)
    return manifest if manifest is not None and not check_sizes(target, manifest) else None


def verify(target: Path) -> tuple[str, ...]:
    """Return what is wrong with the snapshot at `target`, having read every byte of it."""
    manifest = read_manifest(target)
    if manifest is None:
        return (f"`{target}` has no manifest: it is no complete snapshot",)
    return check_digests(target, manifest)


def seal(
    files: Path, item: StageItem, key: str, *, revision: str, sha256: Mapping[str, str]
) -> SnapshotManifest:
    """Write the marker into a complete folder and flush all of it to disk."""
    manifest = SnapshotManifest(
        name=item.name,
        key=key,
        uri=without_secrets(item.uri),
        revision=revision,
        at=time.time(),
        files=describe(files, sha256),
    )
    for entry in manifest.files:
        path = files / entry.path
        # a recipe that saves over the model it started from would change it for every run
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
        sync_file(path)
    write_manifest(files, manifest)
    for parent, _, _ in os.walk(files):
        sync_folder(Path(parent))
    return manifest


def publish(files: Path, target: Path) -> bool:
    """Rename a sealed folder to its final name; return False when another process was faster.

    A damaged snapshot that stands there is moved aside first.
    """
    aside = target.with_name(f".damaged-{target.name}.{uuid.uuid4().hex[:8]}")
    if target.exists() and find(target) is None:
        with contextlib.suppress(FileNotFoundError):
            target.rename(aside)
    try:
        files.rename(target)
    except OSError:
        # not empty: somebody published in between. Anything else is a real failure
        if find(target) is None:
            raise
        return False
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(target.parent)
    return True


def staged_item(
    item: StageItem,
    target: Path,
    manifest: SnapshotManifest,
    *,
    transferred_bytes: int,
    seconds: float,
) -> StagedItem:
    """Return what the rest of the launcher is told about a snapshot."""
    return StagedItem(
        name=item.name,
        key=manifest.key,
        path=str(target),
        size_bytes=manifest.size_bytes,
        files=len(manifest.files),
        transferred_bytes=transferred_bytes,
        seconds=seconds,
    )
