"""Retention: which checkpoints to keep, and the removal of the others.

A policy only names what to keep. The removal adds the safety: it runs after a newer commit is
durable and checked, removes the commit record before the data, never touches unfinished saves of
the running generation, and does nothing once a newer generation is claimed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from launcher.checkpoint.commits import CommitInfo, list_commits
from launcher.checkpoint.files import Files
from launcher.checkpoint.generations import newest_generation
from launcher.checkpoint.layout import CheckpointLayout, CommitKey, commit_key, data_key
from launcher.specs.plan import MIN_KEEP, check_keep

logger = logging.getLogger(__name__)


class RetentionPolicy(Protocol):
    """Chooses the commits to keep.

    A policy cannot delete anything, and the two most useful commits are kept whatever it returns.
    """

    def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]:
        """Return the keys to keep of `commits`.

        `commits` has the history of the run, newest first, then the commits outside of it.
        """


@dataclass(frozen=True)
class KeepLast:
    """Keeps the newest `count` commits."""

    count: int = MIN_KEEP

    def __post_init__(self) -> None:
        check_keep(self.count)

    def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]:
        return {info.key for info in commits[: self.count]}


@dataclass(frozen=True)
class KeepEvery:
    """Keeps every commit whose step is a multiple of `steps`."""

    steps: int

    def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]:
        return {info.key for info in commits if info.step % self.steps == 0 and not info.superseded}


@dataclass(frozen=True)
class AnyOf:
    """Keeps what at least one of several policies keeps."""

    policies: tuple[RetentionPolicy, ...]

    def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]:
        return {key for policy in self.policies for key in policy.keep(commits)}


def decide(commits: Sequence[CommitInfo], policy: RetentionPolicy) -> list[CommitInfo]:
    """Return the commits to remove, least useful first."""
    readable = [info for info in commits if not info.problem]
    ordered = sorted(readable, key=lambda info: (not info.superseded, info.key), reverse=True)
    kept = policy.keep(ordered) | KeepLast().keep(ordered)
    return [info for info in reversed(ordered) if info.key not in kept]


def retain(
    files: Files, layout: CheckpointLayout, policy: RetentionPolicy, *, newest: CommitKey
) -> list[CommitKey]:
    """Remove the commits that `policy` does not keep, and return their keys.

    Call it after `newest` is durable and checked.
    """
    removed = []
    for info in decide(list_commits(layout.path, files=files), policy):
        if info.key >= newest or newest_generation(files, layout) > newest.generation:
            continue
        files.remove(info.path)
        # the removal must be durable before the data goes: a commit must never point to nothing
        files.sync_folder(layout.commits)
        if info.data is not None:
            files.remove_folder(info.data)
        removed.append(info.key)
    return removed


def sweep(files: Files, layout: CheckpointLayout, generation: int) -> list[str]:
    """Remove the data folders of older generations that have no commit, and return their names."""
    if newest_generation(files, layout) > generation:
        return []
    # list the data before the commits, so that a save committed in between counts as committed
    older = [
        (name, key)
        for name in sorted(files.sizes(layout.data))
        if (key := data_key(name)) and key.generation < generation
    ]
    records = files.sizes(layout.commits)
    committed = {commit_key(name) for name in records}
    orphans = [name for name, key in older if key not in committed]
    for name in orphans:
        logger.info("removing `%s`: its save was never finished", name)
        files.remove_folder(layout.data_folder(name))
    for name in records:
        if name.startswith(".") and name.endswith(".tmp") and _older(name, generation):
            files.remove(layout.commits / name)
    return orphans


def _older(name: str, generation: int) -> bool:
    key = commit_key(Path(name[1:]).name[: -len(".tmp")].rpartition(".")[0])
    return key is not None and key.generation < generation
