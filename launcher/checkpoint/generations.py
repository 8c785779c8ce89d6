"""Generations fence a stale incarnation of a run off from a newer one.

Every attempt claims the next number by exclusive create before it starts. A claim records the
newest commit of that moment; what an older attempt still manages to commit afterwards is not part
of the newer one's history.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.checkpoint.checksummed import decode_record, encode_record, write_record
from launcher.checkpoint.commits import list_commits, newest_commit
from launcher.checkpoint.files import Files, PosixFiles
from launcher.checkpoint.layout import (
    CheckpointLayout,
    GenerationRecord,
    commit_key,
    data_key,
    generation_number,
)
from launcher.errors import CheckpointError


class GenerationTaken(CheckpointError):
    """Another attempt holds this generation or a newer one."""


def next_generation(directory: Path, *, files: Files | None = None) -> int:
    """Return the number that the next attempt should claim.

    Above everything that is there; 1 for a new run.
    """
    files, layout = files or PosixFiles(), CheckpointLayout(Path(directory))
    used = [generation_number(name) or 0 for name in files.sizes(layout.generations)]
    keys = [commit_key(name) for name in files.sizes(layout.commits)]
    keys += [data_key(name) for name in files.sizes(layout.data)]
    return 1 + max([*used, *(key.generation for key in keys if key)], default=0)


def claim_generation(
    directory: Path,
    generation: int,
    *,
    info: Mapping[str, Any] | None = None,
    files: Files | None = None,
) -> None:
    """Claim `generation` for one attempt, once and for all.

    Args:
        directory: the checkpoint folder; created when missing.
        generation: usually the number of the attempt.
        info: JSON values for people: engine, world size, host.
        files: where to write; the file system unless a test says otherwise.

    Raises:
        GenerationTaken: it is claimed already, or a newer one is.
    """
    files, layout = files or PosixFiles(), CheckpointLayout(Path(directory))
    for folder in (layout.generations, layout.data, layout.commits):
        files.make_folder(folder)
    _refuse_if_newer(files, layout, generation)
    base = newest_commit(list_commits(layout.path, files=files))
    record = GenerationRecord(
        generation=generation,
        token=os.urandom(16).hex(),
        base=base.key if base else None,
        created_at=time.time(),
        info=dict(info or {}),
    )
    try:
        write_record(files, layout.generation(generation), encode_record(record))
    except FileExistsError:
        raise _taken(generation, generation) from None


def newest_generation(files: Files, layout: CheckpointLayout) -> int:
    """Return the highest number claimed, 0 when there is none."""
    return max(
        (generation_number(name) or 0 for name in files.sizes(layout.generations)), default=0
    )


def read_generation(files: Files, layout: CheckpointLayout, number: int) -> GenerationRecord:
    """Return the claim of generation `number`.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = layout.generation(number)
    try:
        return decode_record(GenerationRecord, files.read(path))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the claim of generation {number} cannot be read",
            context=f"{path}: {error}",
            hint="start the run again: the next attempt claims a new generation",
        ) from error


def _refuse_if_newer(files: Files, layout: CheckpointLayout, generation: int) -> None:
    highest = newest_generation(files, layout)
    if highest >= generation:
        raise _taken(generation, highest)


def _taken(generation: int, highest: int) -> GenerationTaken:
    return GenerationTaken(
        f"generation {generation} is taken: the newest one claimed is {highest}",
        hint=f"another attempt of this run was started; stop it, or claim generation {highest + 1}",
    )
