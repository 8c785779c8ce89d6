"""Checkpoints that any node, any number of ranks and any engine can read.

    ck = checkpoint.Checkpointer(run_dir / "checkpoints", group=engine, generation=attempt)
    found = ck.restore(state, resume="auto")
    ...
    ck.save(state)      # asynchronous, on every rank at the same step
    ...
    ck.close()          # the last save is durable

Nothing that needs torch is imported before it is used, so that listing checkpoints is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from launcher.checkpoint.commits import CommitInfo, list_commits, newest_commit
from launcher.checkpoint.export import export
from launcher.checkpoint.generations import GenerationTaken, claim_generation, next_generation
from launcher.checkpoint.group import Group, SingleProcess
from launcher.checkpoint.layout import CheckpointLayout, CommitKey
from launcher.checkpoint.retention import AnyOf, KeepEvery, KeepLast, RetentionPolicy
from launcher.checkpoint.sampler import DataCursor, GlobalSampler, share
from launcher.checkpoint.verification import Finding, verify

if TYPE_CHECKING:
    from launcher.checkpoint.checkpointer import Checkpointer
    from launcher.checkpoint.restoring import Restored
    from launcher.checkpoint.state import TrainingState

__all__ = [
    "AnyOf",
    "CheckpointLayout",
    "Checkpointer",
    "CommitInfo",
    "CommitKey",
    "DataCursor",
    "Finding",
    "GenerationTaken",
    "GlobalSampler",
    "Group",
    "KeepEvery",
    "KeepLast",
    "Restored",
    "RetentionPolicy",
    "SingleProcess",
    "TrainingState",
    "claim_generation",
    "export",
    "list_commits",
    "newest_commit",
    "next_generation",
    "share",
    "verify",
]

_NEEDS_TORCH = {
    "Checkpointer": "launcher.checkpoint.checkpointer",
    "Restored": "launcher.checkpoint.restoring",
    "TrainingState": "launcher.checkpoint.state",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_NEEDS_TORCH[name]), name)
