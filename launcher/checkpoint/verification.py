"""Checks a checkpoint on storage against its digests. Needs no torch and no process group."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.checkpoint.blocks import DamagedError, check_file
from launcher.checkpoint.checksummed import decode_record, digest
from launcher.checkpoint.commits import list_commits, of_step, read_record
from launcher.checkpoint.files import Files, PosixFiles
from launcher.checkpoint.layout import (
    SCHEMA,
    CheckpointLayout,
    CommitKey,
    CommitRecord,
    ShardFile,
    ShardManifest,
    TensorEntry,
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing wrong with one commit."""

    generation: int
    step: int
    file: str
    """Relative to the checkpoint folder."""
    problem: str
    block: int | None = None
    """Which 16 MiB block of the file, where it is about one."""

    def __str__(self) -> str:
        return f"step {self.step} (generation {self.generation}): {self.file}: {self.problem}"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A commit whose records are consistent and whose files have the right sizes."""

    record: CommitRecord
    manifests: tuple[ShardManifest, ...]
    folder: Path

    @property
    def tensors(self) -> list[TensorEntry]:
        return [entry for manifest in self.manifests for entry in manifest.tensors]

    @property
    def files(self) -> dict[str, ShardFile]:
        return {file.name: file for manifest in self.manifests for file in manifest.files}


def verify(
    directory: Path, step: int | None = None, *, files: Files | None = None
) -> list[Finding]:
    """Read every byte of a commit and return what is wrong; empty means all is well.

    Without a `step`, all commits are read.

    Raises:
        UnknownNameError: there is no commit of that step.
    """
    files, layout = files or PosixFiles(), CheckpointLayout(Path(directory))
    chosen = list_commits(layout.path, files=files)
    if step is not None:
        chosen = of_step(chosen, str(step))
    return [finding for info in chosen for finding in _findings(files, layout, info.key)]


def open_commit(files: Files, layout: CheckpointLayout, key: CommitKey) -> Opened:
    """Read and check the records of a commit and the sizes of its files, not the tensors' bytes.

    Raises:
        DamagedError: something is missing, cut short or changed; the file is relative to the
            checkpoint folder.
    """
    name = f"commits/{key}.json"
    try:
        record = read_record(files, layout, key)
    except (OSError, ValueError) as error:
        raise DamagedError(name, _plain(error)) from error
    folder = layout.data_folder(record.data)
    sizes = files.sizes(folder)
    manifests = tuple(_manifests(files, folder, record))
    for manifest in manifests:
        for file in manifest.files:
            got = sizes.get(file.name)
            if got is None:
                raise DamagedError(f"data/{record.data}/{file.name}", "the file is missing")
            if got != file.size_bytes:
                problem = f"has {got} bytes instead of {file.size_bytes}"
                raise DamagedError(f"data/{record.data}/{file.name}", problem)
    opened = Opened(record=record, manifests=manifests, folder=folder)
    _check_complete(opened)
    return opened


def finding(key: CommitKey, error: DamagedError) -> Finding:
    """Say what is wrong with a commit as a value."""
    return Finding(
        generation=key.generation,
        step=key.step,
        file=error.file,
        problem=error.problem,
        block=error.block,
    )


def _findings(files: Files, layout: CheckpointLayout, key: CommitKey) -> Iterator[Finding]:
    try:
        opened = open_commit(files, layout, key)
    except DamagedError as error:
        yield finding(key, error)
        return
    for file in opened.files.values():
        prefix = f"data/{opened.record.data}/"
        try:
            found = check_file(files, opened.folder / file.name, file)
        except OSError as error:
            found = [DamagedError(file.name, _plain(error))]
        for bad in found:
            yield finding(key, DamagedError(prefix + bad.file, bad.problem, block=bad.block))


def _manifests(files: Files, folder: Path, record: CommitRecord) -> Iterator[ShardManifest]:
    for entry in record.manifests:
        name = f"data/{record.data}/{entry.name}"
        try:
            raw = files.read(folder / entry.name)
        except OSError as error:
            raise DamagedError(name, _plain(error)) from error
        if digest(raw) != entry.digest:
            raise DamagedError(name, "does not match the digest in the commit")
        try:
            manifest = decode_record(ShardManifest, raw)
        except ValueError as error:
            raise DamagedError(name, str(error)) from error
        if manifest.schema > SCHEMA:
            raise DamagedError(name, f"written in format {manifest.schema}, not known here")
        yield manifest


def _check_complete(opened: Opened) -> None:
    """A tensor of which a part was never written would otherwise load as whatever was in memory."""
    written: dict[str, int] = defaultdict(int)
    shapes: dict[str, TensorEntry] = {}
    for entry in opened.tensors:
        written[entry.name] += math.prod(entry.lengths)
        shapes[entry.name] = entry
    for name, entry in shapes.items():
        if written[name] != math.prod(entry.shape):
            raise DamagedError(f"data/{opened.record.data}", f"`{name}` is not complete")


def _plain(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return str(error) or repr(error)
