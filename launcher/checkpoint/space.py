"""Errors for a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

from launcher import units
from launcher.checkpoint.files import Files
from launcher.disk import DiskProblem, is_disk_full
from launcher.errors import CheckpointError

_RECORDS_BYTES = 2**20  # more than the manifests and the commit need
HINT = (
    "free space there, keep fewer checkpoints (checkpoint.keep=2) or use another storage.root=; "
    "earlier checkpoints are untouched"
)


def check(files: Files, folder: Path, *, total_bytes: int, step: int) -> None:
    """Refuse to start a save that cannot fit.

    Args:
        files: where `folder` is.
        folder: the data folder of this save. What other ranks have already written there is
            subtracted.
        total_bytes: what all ranks together will write.
        step: for the message.

    Raises:
        CheckpointError: it does not fit.
    """
    needed = max(0, total_bytes - sum(files.sizes(folder).values())) + _RECORDS_BYTES
    free = files.free_bytes(folder)
    if free < needed:
        raise full(folder, step=step, needed=needed, free=free)


def explain(
    error: OSError, files: Files, folder: Path, *, needed: int, step: int
) -> CheckpointError:
    """Return the error to show for an error of the file system."""
    if error.errno == errno.ENOSPC:
        return full(folder, step=step, needed=needed, free=files.free_bytes(folder.parent))
    problem = DiskProblem.of(error, folder)
    return CheckpointError(
        f"the checkpoint of step {step} cannot be written: {problem.reason}",
        context=f"{folder}: {error}",
        hint=HINT if is_disk_full(error) else f"{problem.hint}; earlier checkpoints are untouched",
    )


def unusable(error: OSError, folder: Path) -> CheckpointError:
    """Return the error to show if the checkpoint folder cannot be created or opened."""
    problem = DiskProblem.of(error, folder)
    return CheckpointError(
        f"the checkpoint folder cannot be used: {problem.reason}",
        context=f"{folder}: {error}",
        hint=HINT if is_disk_full(error) else problem.hint,
    )


def full(folder: Path, *, step: int, needed: int, free: int) -> CheckpointError:
    """Return the error for a disk that has only `free` of the `needed` bytes."""
    return CheckpointError(
        f"disk full: the checkpoint of step {step} needs {units.size(needed)}, "
        f"{units.size(free)} is free",
        context=str(folder),
        hint=HINT,
    )
