"""What srun says when it fails, and what a person can do about it."""

from __future__ import annotations

import re

from launcher.transports.link import last_words
from launcher.transports.ssh_failures import OTHER_PYTHON, TOO_OLD, Failure

__all__ = ["explain", "silent"]

_COMPLAINT = re.compile(r"^(?:srun|slurmstepd)[^:]*: (?:error: |fatal: )+(.*)$", re.MULTILINE)
_LEAVES_NOTHING_TO_ASK = "execve()"
_WHO_IS_DOWN = "`sinfo -N -l` shows which node is down"
_HINTS = (
    ("nvalid job id", "the allocation has ended: `squeue --me`"),
    ("already completing", "the allocation is about to end"),
    ("GRES", "ask for the same number of GPUs on each node: sbatch --gpus-per-node=8"),
    ("gres", "ask for the same number of GPUs on each node: sbatch --gpus-per-node=8"),
    ("Node failure", _WHO_IS_DOWN),
    ("not available", _WHO_IS_DOWN),
    ("Communication connection failure", _WHO_IS_DOWN),
    ("overlap", "Slurm 20.11 or newer is needed"),
)


def explain(python: str, words: str) -> Failure:
    """Read what srun wrote when a keeper did not answer."""
    complaints = _COMPLAINT.findall(words)
    problem = complaints[0] if complaints else last_words(words) or "the step ended at once"
    if _LEAVES_NOTHING_TO_ASK in words:
        return Failure(
            problem=f"it has no `{python}`",
            hint=f"install the same environment on all nodes, at the same path, or {OTHER_PYTHON}",
        )
    if TOO_OLD in words:
        told = next(line for line in words.splitlines() if TOO_OLD in line)
        return Failure(problem=told, hint=OTHER_PYTHON)
    hints = (hint for needle, hint in _HINTS if needle in words)
    return Failure(problem=problem, hint=next(hints, "try it by hand: srun --overlap hostname"))


def silent(timeout_s: float) -> Failure:
    """Nobody said anything, neither a keeper nor srun."""
    return Failure(problem=f"no answer within {timeout_s:g} s", hint=_WHO_IS_DOWN)
