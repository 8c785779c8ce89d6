"""Saving: the ranks coordinate through the data folder, never through a collective.

Every rank writes its shard and then its manifest there. The coordinator (rank 0) waits for all
manifests and commits. The others wait for the commit. A rank that fails writes a note. If a rank is
gone, nothing in the folder changes any more: after the timeout the coordinator gives up and names
the missing ranks. So a dead or stopped rank costs a bounded time with any engine.

Each function is one step, without threads, so that tests can crash between any two of them.
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

Poll = Callable[[], tuple[T | None, object]]
"""Returns the expected result, or None, and a value that changes with any progress."""


@dataclass(frozen=True, kw_only=True)
class FailureNote:
    """The note of a rank that cannot write its part."""

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
    """Write the shard of this rank, then its manifest. Both are then durable."""
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
    """Return the raw manifests if all exist, else None, and the sizes of the files in the folder.

    Raises:
        CheckpointError: a rank wrote a note that it failed.
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
    """Return the ranks that have not written their manifest."""
    sizes = files.sizes(folder)
    return [rank for rank in range(world_size) if manifest_name(rank) not in sizes]


def check_manifests(
    files: Files, folder: Path, raw: Mapping[int, bytes], agreed: Mapping[str, str]
) -> tuple[tuple[ManifestEntry, ...], int]:
    """Check that the parts belong together. Return the entries of the commit, and the total size.

    Raises:
        CheckpointError: ranks differ in what must be equal, or a file has the wrong size.
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
                hint="these must be equal on all ranks; look for state that depends on the rank",
            )
        for file in manifest.files:
            if sizes.get(file.name) != file.size_bytes:
                raise CheckpointError(
                    f"rank {rank} wrote {file.size_bytes} bytes to {file.name}, "
                    f"storage has {sizes.get(file.name)}",
                    context=str(folder),
                    hint="check the storage, and that all nodes see the same folder",
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
        # is taken, or that the temporary file does not exist
        if error.errno not in {errno.EEXIST, errno.ENOENT} or not _is_there(files, path, content):
            raise _occupied(record, path, error) from error
        files.sync_folder(layout.commits)


def look_for_outcome(
    files: Files, layout: CheckpointLayout, key: CommitKey, folder: Path
) -> tuple[bool | None, object]:
    """Return True if the save is committed, else None, and the sizes of the files in the folder.

    Raises:
        CheckpointError: the coordinator gave up; with its reason.
    """
    if layout.commit(key).name in files.sizes(layout.commits):
        return _committed_as(files, layout, key, folder), None
    sizes = files.sizes(folder)
    if GIVEN_UP in sizes:
        raise _reported(files, folder / GIVEN_UP)
    if not sizes:
        raise CheckpointError(
            f"rank 0 gave up the save of step {key.step}",
            hint="see the log of rank 0",
        )
    return None, sizes


def leave_note(files: Files, folder: Path, part: Part, error: CheckpointError) -> None:
    """Report to the coordinator that this rank failed, and free its disk space. Never raises."""
    note = FailureNote(rank=part.rank, message=error.message, hint=error.hint)
    try:
        files.remove(folder / part.file)
        write_record(files, folder / failure_name(part.rank), encode_record(note))
    except OSError:
        return


def give_up(files: Files, folder: Path, error: CheckpointError, *, alone: bool) -> None:
    """Report to the other ranks why the save failed, and free its disk space. Never raises.

    The reason is written first, because a rank that finds its file removed looks for it. Only if
    the disk has no space for it, files are removed before.
    """
    if alone:
        files.remove_folder(folder)
        return
    note = encode_record(FailureNote(rank=0, message=error.message, hint=error.hint))
    try:
        written = _try_write(files, folder / GIVEN_UP, note)
        for name in files.sizes(folder):
            if name != GIVEN_UP:
                files.remove(folder / name)
                written = written or _try_write(files, folder / GIVEN_UP, note)
        if not written:
            files.remove_folder(folder)
    except OSError:
        files.remove_folder(folder)


def _try_write(files: Files, path: Path, content: bytes) -> bool:
    try:
        write_record(files, path, content)
    except OSError:
        return False
    return True


def reason_given_up(files: Files, folder: Path) -> CheckpointError | None:
    """Return why the coordinator gave up the save in `folder`, None if it did not."""
    if GIVEN_UP not in files.sizes(folder):
        return None
    return _reported(files, folder / GIVEN_UP)


def wait_for(
    poll: Poll[T],
    *,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T | None:
    """Poll until there is a result. Return None once nothing has changed for `timeout_s`."""
    pause = 0.005
    result, state = poll()
    since = clock()
    while result is None:
        if clock() - since >= timeout_s:
            return None
        sleep(pause)
        pause = min(pause * 1.5, 0.25)
        result, now = poll()
        if now != state:
            state, since, pause = now, clock(), 0.02
    return result


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
            hint="check the storage, and that all nodes see the same folder",
        ) from error
    if record.data != folder.name:
        raise CheckpointError(
            f"step {key.step} was committed by another process, from {record.data}",
            hint="two attempts run at the same time; stop one of them",
        )
    return True


def _decoded(content: bytes, name: str) -> ShardManifest:
    try:
        return decode_record(ShardManifest, content)
    except ValueError as error:
        raise CheckpointError(
            f"{name} on storage is not what was written",
            context=str(error),
            hint="check the storage; this save is given up, earlier checkpoints are intact",
        ) from error


def _reported(files: Files, path: Path) -> CheckpointError:
    try:
        note = decode_record(FailureNote, files.read(path))
    except (OSError, ValueError):
        note = FailureNote(rank=-1, message="a rank failed to write its part")
    return CheckpointError(
        note.message,
        context=f"reported by rank {note.rank}" if note.rank >= 0 else "",
        hint=note.hint or "see the logs of the ranks",
    )


def _occupied(record: CommitRecord, path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"the commit of step {record.step} cannot be published",
        context=f"{path}: {error}",
        hint="if it already exists, another process uses the same generation; stop one of them",
    )
