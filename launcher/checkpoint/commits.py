"""Which checkpoints exist, and which of them a run resumes from.

Reads commit records only. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.checkpoint.checksummed import decode_record
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
from launcher.errors import CheckpointError, UnknownNameError
from launcher.specs.plan import check_resume


@dataclass(frozen=True, kw_only=True)
class CommitInfo:
    """One commit, as `checkpoints ls` and retention policies see it."""

    generation: int
    step: int
    path: Path
    """The commit record."""
    data: Path | None = None
    """Folder of its tensors."""
    world_size: int = 0
    engine: str = ""
    size_bytes: int = 0
    created_at: float = 0.0
    base: CommitKey | None = None
    problem: str = ""
    """Why the record cannot be read; empty if it can."""
    superseded: bool = False
    """True if a newer generation continued from an earlier commit, so that this one is not part
    of the run's history."""

    @property
    def key(self) -> CommitKey:
        return CommitKey(self.generation, self.step)


def list_commits(directory: Path, *, files: Files | None = None) -> list[CommitInfo]:
    """Return every commit in the checkpoint folder, ordered by (generation, step).

    A folder that does not exist has none. Damaged records are included, with their `problem`.
    """
    files, layout = files or PosixFiles(), CheckpointLayout(Path(directory))
    keys = sorted(key for name in files.sizes(layout.commits) if (key := commit_key(name)))
    commits = [_info(files, layout, key) for key in keys]
    counted = {info.key for info in history(commits, read_claims(files, layout))}
    return [replace(info, superseded=info.key not in counted) for info in commits]


def newest_commit(commits: Sequence[CommitInfo]) -> CommitInfo | None:
    """Return the commit that a resume tries first, None if there is none."""
    usable = in_order(commits)
    return next((info for info in usable if not info.problem), None)


def in_order(commits: Iterable[CommitInfo]) -> list[CommitInfo]:
    """Return the commits of the run's history, newest (generation, step) first."""
    counted = [info for info in commits if not info.superseded]
    return sorted(counted, key=lambda info: info.key, reverse=True)


def of_step(commits: list[CommitInfo], step: str) -> list[CommitInfo]:
    """Return the commits of `step`: those in the run's history first, then by newest generation.

    Raises:
        UnknownNameError: there is none; the error lists the steps.
    """
    matching = [info for info in commits if str(info.step) == step.strip()]
    if not matching:
        raise UnknownNameError("step", step, {str(info.step) for info in commits})
    return sorted(matching, key=lambda info: (not info.superseded, info.key), reverse=True)


def candidates(files: Files, layout: CheckpointLayout, resume: str) -> list[CommitInfo]:
    """Return the commits to try for `resume`, best first. Empty means: start at step 0.

    Raises:
        CheckpointError: a checkpoint must exist and does not.
        UnknownNameError: there is no such step.
        ConfigError: `resume` has no valid value.
    """
    check_resume(resume)
    if resume == "never":
        return []
    commits = list_commits(layout.path, files=files)
    if resume.isdecimal():
        return of_step(commits, str(int(resume)))
    usable = in_order(commits)
    if not usable:
        _refuse_to_start_over(files, layout, commits, resume)
    return usable


def _refuse_to_start_over(
    files: Files, layout: CheckpointLayout, commits: list[CommitInfo], resume: str
) -> None:
    """Start at step 0 only if no attempt ever committed a checkpoint."""
    lost = [
        f"step {claim.base.step} of generation {claim.base.generation}"
        for claim in read_claims(files, layout).values()
        if claim is not None and claim.base is not None
    ]
    if commits or lost:
        steps = ", ".join(str(info.step) for info in commits) or "none"
        raise CheckpointError(
            "checkpoints were written, but none of them is left to resume from",
            context=f"{layout.path}: commits of steps: {steps}; "
            f"recorded by earlier attempts: {', '.join(lost) or 'none'}",
            hint="name a step with resume=<step>, or start over with resume=never",
        )
    if resume == "required":
        raise CheckpointError(
            "resume=required, but there is no checkpoint",
            context=str(layout.path),
            hint="check run_id= and storage.root=, or start a new run with resume=auto",
        )


def read_record(files: Files, layout: CheckpointLayout, key: CommitKey) -> CommitRecord:
    """Return a commit record.

    Raises:
        ValueError: it is damaged, or its format is newer than this version.
        OSError: it cannot be read.
    """
    record = decode_record(CommitRecord, files.read(layout.commit(key)))
    if record.schema > SCHEMA:
        raise ValueError(f"written in format {record.schema}; this version reads up to {SCHEMA}")
    if record.key != key:
        raise ValueError(f"the file is named {key} but holds {record.key}")
    return record


def read_claims(files: Files, layout: CheckpointLayout) -> dict[int, GenerationRecord | None]:
    """Return generation -> claim, or None if the claim cannot be read."""
    claims: dict[int, GenerationRecord | None] = {}
    for name in files.sizes(layout.generations):
        number = generation_number(name)
        if number is None:
            continue
        try:
            claims[number] = decode_record(GenerationRecord, files.read(layout.generation(number)))
        except (OSError, ValueError):
            claims[number] = None
    return claims


def history(
    commits: Iterable[CommitInfo], claims: Mapping[int, GenerationRecord | None]
) -> list[CommitInfo]:
    """Return the commits that led to the present state of the run, newest first.

    Start at the newest generation: take its commits, then those of the generation it continued, up
    to the commit where it started, and so on. The start is in the commits of an attempt; if it
    committed nothing, it is in its claim. If there was no commit at all at the time of the claim, a
    later commit of an older generation still counts: it is better than step 0.
    """
    known = list(commits)
    result: list[CommitInfo] = []
    generation = max([*claims, *(info.generation for info in known)], default=0)
    limit: int | None = None
    while generation > 0:
        own = [
            info
            for info in known
            if info.generation == generation and (limit is None or info.step <= limit)
        ]
        own.sort(key=lambda info: info.step, reverse=True)
        result += own
        readable = next((info for info in own if not info.problem), None)
        base = readable.base if readable else _claimed_base(claims, generation)
        if base is None or base.generation >= generation:
            if readable:
                break
            generation, limit = generation - 1, None
        else:
            generation, limit = base.generation, base.step
    return result


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
