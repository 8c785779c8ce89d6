"""Files and folders from anywhere the storage room can read: paths, buckets, web servers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from launcher.errors import StagingError
from launcher.specs import StageItem
from launcher.specs.secrets import redact
from launcher.staging.failures import missing_local, require_room
from launcher.staging.fetcher import Fetched, Workspace
from launcher.staging.selection import expect_sha256, inside, select
from launcher.storage import (
    Download,
    Listing,
    TransferPolicy,
    download,
    is_local,
    list_source,
    local_path,
)

__all__ = ["FilesystemFetcher"]

_LOCAL = TransferPolicy(connections=4)
"""Disks have no round trips to hide: more threads only cost memory and CPU."""


class FilesystemFetcher:
    """Copies what a URI names. Such sources change, so each listing is another pin."""

    def pin(self, item: StageItem) -> str:
        return _fingerprint(_listed(item))

    def fetch(self, workspace: Workspace) -> Fetched:
        item = workspace.item
        source = _listed(item)
        _check_single(item, source)
        targets = select(item, (file.relative for file in source.files))
        wanted = [
            Download(
                path=file.path,
                destination=inside(workspace.files, targets[file.relative]),
                size_bytes=file.size_bytes,
                version=file.version,
                verify=_verifier(item),
            )
            for file in source.files
            if file.relative in targets
        ]
        _announce(workspace, wanted)
        transferred = download(
            source.filesystem,
            wanted,
            scratch=workspace.scratch,
            stop=workspace.stop,
            advanced=workspace.advanced,
            policy=_LOCAL if is_local(item.uri) else None,
        )
        if _fingerprint(_listed(item)) != _fingerprint(source):
            raise StagingError(
                f"`{redact(item.uri)}` changed while it was copied",
                hint="wait until it is written completely, then repeat the command",
            )
        digests = {targets[source.files[0].relative]: item.sha256} if item.sha256 else {}
        return Fetched(transferred_bytes=transferred, sha256=digests)


def _listed(item: StageItem) -> Listing:
    if is_local(item.uri) and not local_path(item.uri).exists():
        raise missing_local(item, local_path(item.uri))
    return list_source(item.uri)


def _fingerprint(source: Listing) -> str:
    content = [(file.relative, file.size_bytes, file.version) for file in source.files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _check_single(item: StageItem, source: Listing) -> None:
    if item.sha256 and not source.single:
        raise StagingError(
            f"`{redact(item.uri)}` is a folder, and a folder has no sha256",
            hint=f"drop `sha256` of `{item.name}`, or name a single file",
        )


def _verifier(item: StageItem) -> Callable[[Path], None] | None:
    if not item.sha256:
        return None
    return lambda path: expect_sha256(path, item.sha256, redact(item.uri))


def _announce(workspace: Workspace, wanted: list[Download]) -> None:
    sizes = [one.size_bytes for one in wanted]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    workspace.expect(total)
    if total is not None:
        missing = sum(one.size_bytes or 0 for one in wanted if not one.destination.exists())
        require_room(workspace.item, missing - _arrived(workspace.scratch), where=workspace.files)


def _arrived(scratch: Path) -> int:
    """Bytes that partial files already take on disk; they are sparse, so length tells nothing."""
    return sum(part.stat().st_blocks * 512 for part in scratch.glob("*.part"))
