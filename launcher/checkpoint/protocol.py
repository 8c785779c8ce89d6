"""Saving together without talking: ranks meet in the data folder, never in a collective.

Every rank puts its shard and then its manifest there. The coordinator (rank 0) waits for all
manifests and commits. The others wait for the commit. A rank that fails leaves a note, a rank that
is gone leaves nothing: then the coordinator gives up when nothing in the folder has changed for the
timeout, and names who is missing. So a dead or stopped rank costs a bounded time, on any engine.

These functions are single steps with no thread and no clock of their own, so that tests can crash
between any two of them.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from launcher.checkpoint.blocks import write_file
from launcher.checkpoint.checksummed import decode_record, digest, encode_record, write_record
from launcher.checkpoint.commits import read_record
from launcher.checkpoint.files import Files
from launcher.checkpoint.generations import newest_generation
from launcher.checkpoint.layout import (
    GIVEN_UP,
    CheckpointLayout,
    CommitKey,
    CommitRecord,
    ManifestEntry,
    ShardManifest,
    failure_name,
    manifest_name,
)
from launcher.checkpoint.shards import ShardLayout
from launcher.errors import CheckpointError

T = TypeVar("T")

Look = Callable[[], tuple[T | None, object]]
"""Returns what was waited for (or None), and something that differs after any progress."""


@dataclass(frozen=True, kw_only=True)
class FailureNote:
    """The note a rank leaves when its part cannot be written."""

    rank: int
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one rank adds to a checkpoint."""

    key: CommitKey
    rank: int
    world_size: int
    file: str
    shard: ShardLayout
    agreed: dict[str, str]


def write_part(files: Files, folder: Path, part: Part, payload: memoryview) -> ShardManifest:
    """Write this rank's shard, then the manifest that vouches for it; both are then durable."""
    entry = write_file(files, folder / part.file, [memoryview(part.shard.header), payload])
    manifest = ShardManifest(
        generation=part.key.generation,
        step=part.key.step,
        rank=part.rank,
        world_size=part.world_size,
        files=(entry,),
        tensors=part.shard.entries,
        agreed=part.agreed,
    )
    write_record(files, folder / manifest_name(part.rank), encode_record(manifest))
    return manifest


def look_for_manifests(
    files: Files, folder: Path, world_size: int
) -> tuple[dict[int, bytes] | None, dict[str, int]]:
    """Return the raw manifests once all are there, else None, and the content of the folder.

    The second value changes while anybody writes.

    Raises:
        CheckpointError: a rank has left a note that it failed.
    """
    sizes = files.sizes(folder)
    for rank in range(world_size):
        if failure_name(rank) in sizes:
            raise _reported(files, folder / failure_name(rank))
    if any(manifest_name(rank) not in sizes for rank in range(world_size)):
        return None, sizes
    raw = {rank: files.read(folder / manifest_name(rank)) for rank in range(world_size)}
    return raw, sizes


def missing_ranks(files: Files, folder: Path, world_size: int) -> list[int]:
    """Return the ranks whose manifest is not there."""
    sizes = files.sizes(folder)
    return [rank for rank in range(world_size) if manifest_name(rank) not in sizes]


def check_manifests(
    files: Files, folder: Path, raw: Mapping[int, bytes], agreed: Mapping[str, str]
) -> tuple[tuple[ManifestEntry, ...], int]:
    """Check that the parts belong together; return what the commit pins, and the total size.

    Raises:
        CheckpointError: ranks differ in what must be equal, or a file has not the size its writer
            claims.
    """
    sizes = files.sizes(folder)
    total = 0
    entries = []
    for rank, content in sorted(raw.items()):
        name = manifest_name(rank)
        manifest = _decoded(content, name)
        odd = sorted(key for key in agreed if manifest.agreed.get(key) != agreed[key])
        if odd:
            raise CheckpointError(
                f"step {manifest.step} is not saved: "
                f"rank {rank} differs from rank 0 in `{'`, `'.join(odd)}`",
                hint="these must be equal on all ranks: look for state that depends on the rank",
            )
        for file in manifest.files:
            if sizes.get(file.name) != file.size_bytes:
                raise CheckpointError(
                    f"rank {rank} wrote {file.size_bytes} bytes to {file.name}, "
                    f"storage has {sizes.get(file.name)}",
                    context=str(folder),
                    hint="look at the storage; do all nodes see the same folder?",
                )
            total += file.size_bytes
        entries.append(ManifestEntry(name=name, size_bytes=len(content), digest=digest(content)))
    return tuple(entries), total


def publish(files: Files, layout: CheckpointLayout, record: CommitRecord) -> None:
    """Make the checkpoint exist. Durable on return.

    Raises:
        CheckpointError: a newer generation is claimed, or this commit exists with other content.
    """
    files.sync_folder(layout.data)
    newer = newest_generation(files, layout)
    if newer > record.generation:
        raise CheckpointError(
            f"step {record.step} is not saved: "
            f"generation {newer} was claimed, this is generation {record.generation}",
            hint="another attempt of this run has taken over; stop this one",
        )
    content = encode_record(record)
    path = layout.commit(record.key)
    try:
        write_record(files, path, content)
    except OSError as error:
        # a network file system may repeat a request that succeeded, and then report that the name
        # is taken or the source gone
        if error.errno not in {errno.EEXIST, errno.ENOENT} or not _is_there(files, path, content):
            raise _occupied(record, path, error) from error
        files.sync_folder(layout.commits)


def look_for_outcome(
    files: Files, layout: CheckpointLayout, key: CommitKey, folder: Path
) -> tuple[bool | None, object]:
    """Return True once the save is committed; the second value changes while anything goes on.

    Raises:
        CheckpointError: the coordinator gave the save up; with its reason.
    """
    if layout.commit(key).name in files.sizes(layout.commits):
        return _committed_as(files, layout, key, folder), None
    sizes = files.sizes(folder)
    if GIVEN_UP in sizes:
        raise _reported(files, folder / GIVEN_UP)
    if not sizes:
        raise CheckpointError(
            f"the save of step {key.step} was given up",
            hint="the log of rank 0 says why",
        )
    return None, sizes


def leave_note(files: Files, folder: Path, part: Part, error: CheckpointError) -> None:
    """Tell the coordinator that this rank failed, after giving its disk space back.

    Best effort: never raises.
    """
    note = FailureNote(rank=part.rank, message=error.message, hint=error.hint)
    try:
        files.remove(folder / part.file)
        write_record(files, folder / failure_name(part.rank), encode_record(note))
    except OSError:
        return


def give_up(files: Files, folder: Path, error: CheckpointError, *, alone: bool) -> None:
    """Tell the other ranks why the save failed, and give its disk space back.

    The reason comes first: a rank that still writes finds its file gone, and looks for it. Only
    when there is no room even for the reason does something have to go before. Best effort: never
    raises.
    """
    if alone:
        files.remove_folder(folder)
        return
    note = encode_record(FailureNote(rank=0, message=error.message, hint=error.hint))
    try:
        told = _told(files, folder / GIVEN_UP, note)
        for name in files.sizes(folder):
            if name != GIVEN_UP:
                files.remove(folder / name)
                told = told or _told(files, folder / GIVEN_UP, note)
        if not told:
            files.remove_folder(folder)
    except OSError:
        files.remove_folder(folder)


def _told(files: Files, path: Path, content: bytes) -> bool:
    try:
        write_record(files, path, content)
    except OSError:
        return False
    return True


def reason_given_up(files: Files, folder: Path) -> CheckpointError | None:
    """Return why the coordinator gave the save in `folder` up, if it did and said so."""
    if GIVEN_UP not in files.sizes(folder):
        return None
    return _reported(files, folder / GIVEN_UP)


def wait_for(
    look: Look[T],
    *,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T | None:
    """Look until there is something; None once nothing has changed for `timeout_s`."""
    pause = 0.005
    found, seen = look()
    since = clock()
    while found is None:
        if clock() - since >= timeout_s:
            return None
        sleep(pause)
        pause = min(pause * 1.5, 0.25)
        found, now = look()
        if now != seen:
            seen, since, pause = now, clock(), 0.02
    return found


def _is_there(files: Files, path: Path, content: bytes) -> bool:
    try:
        return files.read(path) == content
    except OSError:
        return False


def _committed_as(files: Files, layout: CheckpointLayout, key: CommitKey, folder: Path) -> bool:
    try:
        record = read_record(files, layout, key)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the commit of step {key.step} cannot be read back",
            context=str(error),
            hint="look at the storage; do all nodes see the same folder?",
        ) from error
    if record.data != folder.name:
        raise CheckpointError(
            f"step {key.step} was committed by somebody else, from {record.data}",
            hint="two attempts run at the same time; stop one of them",
        )
    return True


def _decoded(content: bytes, name: str) -> ShardManifest:
    try:
        return decode_record(ShardManifest, content)
    except ValueError as error:
        raise CheckpointError(
            f"{name} was damaged on its way to storage",
            context=str(error),
            hint="look at the storage; the save is given up, earlier checkpoints are untouched",
        ) from error


def _reported(files: Files, path: Path) -> CheckpointError:
    try:
        note = decode_record(FailureNote, files.read(path))
    except (OSError, ValueError):
        note = FailureNote(rank=-1, message="a rank failed to write its part")
    return CheckpointError(
        note.message,
        context=f"reported by rank {note.rank}" if note.rank >= 0 else "",
        hint=note.hint or "the logs of the ranks say why",
    )


def _occupied(record: CommitRecord, path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"the commit of step {record.step} cannot be published",
        context=f"{path}: {error}",
        hint="if it exists already, another process uses the same generation: stop one of them",
    )
