"""Which commit to go on from. Decided by one process; the others are told."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.checkpoint.commits import CommitInfo, in_order, list_commits, read_claims
from launcher.checkpoint.files import Files
from launcher.checkpoint.layout import CheckpointLayout
from launcher.checkpoint.verification import of_step
from launcher.errors import CheckpointError, UnknownNameError

CHOICES = ("auto", "never", "required", "<step>")


def candidates(files: Files, layout: CheckpointLayout, resume: str) -> list[CommitInfo]:
    """Return the commits to try, in order; empty means: start at step 0.

    Args:
        files: where the checkpoints lie.
        layout: the checkpoint folder.
        resume: `auto`, `never`, `required`, or a step in digits.

    Raises:
        CheckpointError: something must be there and is not.
        UnknownNameError: no such step, or no such choice.
    """
    if resume == "never":
        return []
    commits = list_commits(layout.path, files=files)
    if resume.isdecimal():
        return of_step(commits, str(int(resume)))
    if resume not in CHOICES:
        raise UnknownNameError("resume", resume, CHOICES)
    found = in_order(commits)
    if not found:
        _refuse_to_start_over(files, layout, commits, resume)
    return found


def _refuse_to_start_over(
    files: Files, layout: CheckpointLayout, commits: list[CommitInfo], resume: str
) -> None:
    """Starting at step 0 is right only when there never was a commit."""
    lost = list(_recorded_bases(files, layout))
    if commits or lost:
        there = ", ".join(str(info.step) for info in commits) or "none"
        raise CheckpointError(
            "checkpoints were written, but none of them is left to go on from",
            context=f"{layout.path}: commits of steps: {there}; "
            f"recorded by earlier attempts: {', '.join(lost) or 'none'}",
            hint="name a step with resume=<step>, or start over with resume=never",
        )
    if resume == "required":
        raise CheckpointError(
            "resume=required, but there is no checkpoint",
            context=str(layout.path),
            hint="check run_id= and storage.root=, or start a new run with resume=auto",
        )


def _recorded_bases(files: Files, layout: CheckpointLayout) -> Iterator[str]:
    for claim in read_claims(files, layout).values():
        if claim is not None and claim.base is not None:
            yield f"step {claim.base.step} of generation {claim.base.generation}"
