"""Which checkpoints exist, and in which order they count.

Reads commit records only; needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.checkpoint.checksummed import unseal
from launcher.checkpoint.files import Files, PosixFiles
from launcher.checkpoint.layout import (
    SCHEMA,
    CheckpointLayout,
    CommitKey,
    CommitRecord,
    GenerationRecord,
    commit_key,
    generation_number,
)


@dataclass(frozen=True, kw_only=True)
class CommitInfo:
    """One commit as people and policies see it."""

    generation: int
    step: int
    path: Path
    """The commit record."""
    data: Path | None = None
    """The folder of its tensors."""
    world_size: int = 0
    engine: str = ""
    size_bytes: int = 0
    created_at: float = 0.0
    base: CommitKey | None = None
    problem: str = ""
    """Why the record cannot be read; empty when it can."""
    superseded: bool = False
    """True when a newer generation went on from an earlier point, so that this is not in the run's
    history."""

    @property
    def key(self) -> CommitKey:
        return CommitKey(self.generation, self.step)


def list_commits(directory: Path, *, files: Files | None = None) -> list[CommitInfo]:
    """Return every commit in the checkpoint folder, by (generation, step), oldest first.

    A folder that does not exist has none. Damaged records are listed too, with their `problem`.
    """
    files, layout = files or PosixFiles(), CheckpointLayout(Path(directory))
    keys = sorted(key for name in files.sizes(layout.commits) if (key := commit_key(name)))
    found = [_info(files, layout, key) for key in keys]
    counted = {info.key for info in history(found, read_claims(files, layout))}
    return [replace(info, superseded=info.key not in counted) for info in found]


def newest(commits: Sequence[CommitInfo]) -> CommitInfo | None:
    """Return the commit that a resume tries first, None when there is none."""
    usable = in_order(commits)
    return next((info for info in usable if not info.problem), None)


def in_order(commits: Iterable[CommitInfo]) -> list[CommitInfo]:
    """Return the commits of the run's history, newest first, by (generation, step)."""
    counted = [info for info in commits if not info.superseded]
    return sorted(counted, key=lambda info: info.key, reverse=True)


def read_record(files: Files, layout: CheckpointLayout, key: CommitKey) -> CommitRecord:
    """Return a commit record.

    Raises:
        ValueError: it is damaged, or of a newer schema than this library knows.
        OSError: it cannot be read.
    """
    record = unseal(CommitRecord, files.read(layout.commit(key)))
    if record.schema > SCHEMA:
        raise ValueError(f"written in format {record.schema}; this version reads up to {SCHEMA}")
    if record.key != key:
        raise ValueError(f"the file is named {key} but holds {record.key}")
    return record


def read_claims(files: Files, layout: CheckpointLayout) -> dict[int, GenerationRecord | None]:
    """Return generation -> claim; None where the claim cannot be read."""
    claims: dict[int, GenerationRecord | None] = {}
    for name in files.sizes(layout.generations):
        number = generation_number(name)
        if number is None:
            continue
        try:
            claims[number] = unseal(GenerationRecord, files.read(layout.generation(number)))
        except (OSError, ValueError):
            claims[number] = None
    return claims


def history(
    commits: Iterable[CommitInfo], claims: Mapping[int, GenerationRecord | None]
) -> list[CommitInfo]:
    """Return the commits that lead to the present, newest first.

    Starting at the newest generation: its commits, then those of the generation it went on from, up
    to the commit it went on from, and so on. An attempt that committed names where it started in
    its commits; one that did not, in its claim. An attempt that claims when there is no commit at
    all has nothing to go on from, so a commit that an older one slipped in afterwards still counts:
    it harms nobody and beats step 0.
    """
    known = list(commits)
    found: list[CommitInfo] = []
    generation = max([*claims, *(info.generation for info in known)], default=0)
    limit: int | None = None
    while generation > 0:
        own = [
            info
            for info in known
            if info.generation == generation and (limit is None or info.step <= limit)
        ]
        own.sort(key=lambda info: info.step, reverse=True)
        found += own
        told = next((info for info in own if not info.problem), None)
        base = told.base if told else _claimed_base(claims, generation)
        if base is None or base.generation >= generation:
            if told:
                break
            generation, limit = generation - 1, None
        else:
            generation, limit = base.generation, base.step
    return found


def _claimed_base(
    claims: Mapping[int, GenerationRecord | None], generation: int
) -> CommitKey | None:
    claim = claims.get(generation)
    return claim.base if claim else None


def _info(files: Files, layout: CheckpointLayout, key: CommitKey) -> CommitInfo:
    path = layout.commit(key)
    try:
        record = read_record(files, layout, key)
    except (OSError, ValueError) as error:
        return CommitInfo(
            generation=key.generation, step=key.step, path=path, problem=str(error) or repr(error)
        )
    return CommitInfo(
        generation=key.generation,
        step=key.step,
        path=path,
        data=layout.data_folder(record.data),
        world_size=record.world_size,
        engine=record.engine,
        size_bytes=record.size_bytes,
        created_at=record.created_at,
        base=record.base,
    )
