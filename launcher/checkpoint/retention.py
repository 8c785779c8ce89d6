"""Which checkpoints stay, and the removal of the others.

A policy only names what to keep. The removal is careful for it: it acts after a newer commit is
durable and checked, takes the commit record away before the data, never touches the running
generation's unfinished saves, and does nothing once a newer generation has been claimed.
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
from launcher.errors import ConfigError

logger = logging.getLogger(__name__)


class RetentionPolicy(Protocol):
    """Chooses what stays.

    It is asked with all commits, the most useful first: the run's history from the newest back,
    then what is not part of it. It returns keys; it cannot delete, and what it forgets to keep
    below two is kept anyway.
    """

    def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]: ...


@dataclass(frozen=True)
class KeepLast:
    """The newest `count`; at least 2, since the newest may turn out to be damaged."""

    count: int = 2

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ConfigError(
                f"checkpoint.keep={self.count} leaves nothing to fall back to "
                "when the newest is damaged",
                hint="use checkpoint.keep=2 or more",
            )

    def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]:
        return {info.key for info in commits[: self.count]}


@dataclass(frozen=True)
class KeepEvery:
    """Those whose step is a multiple of `steps`, for ever."""

    steps: int

    def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]:
        return {info.key for info in commits if info.step % self.steps == 0 and not info.superseded}


@dataclass(frozen=True)
class AnyOf:
    """What any of several policies keeps."""

    policies: tuple[RetentionPolicy, ...]

    def keep(self, commits: Sequence[CommitInfo]) -> set[CommitKey]:
        return {key for policy in self.policies for key in policy.keep(commits)}


def decide(commits: Sequence[CommitInfo], policy: RetentionPolicy) -> list[CommitInfo]:
    """Return the commits to remove, the least useful first. Pure."""
    readable = [info for info in commits if not info.problem]
    ordered = sorted(readable, key=lambda info: (not info.superseded, info.key), reverse=True)
    kept = policy.keep(ordered) | KeepLast(2).keep(ordered)
    return [info for info in reversed(ordered) if info.key not in kept]


def retain(
    files: Files, layout: CheckpointLayout, policy: RetentionPolicy, *, newest: CommitKey
) -> list[CommitKey]:
    """Remove what `policy` lets go, now that `newest` is durable and checked.

    Returns what was removed.
    """
    removed = []
    for info in decide(list_commits(layout.path, files=files), policy):
        if info.key >= newest or newest_generation(files, layout) > newest.generation:
            continue
        files.remove(info.path)
        files.sync_folder(
            layout.commits
        )  # durable before the data goes: no commit may point at nothing
        if info.data is not None:
            files.remove_folder(info.data)
        removed.append(info.key)
    return removed


def sweep(files: Files, layout: CheckpointLayout, generation: int) -> list[str]:
    """Remove what older generations left without a commit. Returns the names.

    A folder is read before the commits are, so one that is committed in between is seen as
    committed.
    """
    if newest_generation(files, layout) > generation:
        return []
    candidates = [
        (name, key)
        for name in sorted(files.sizes(layout.data))
        if (key := data_key(name)) and key.generation < generation
    ]
    records = files.sizes(layout.commits)
    committed = {commit_key(name) for name in records}
    orphans = [name for name, key in candidates if key not in committed]
    for name in orphans:
        logger.info("removing `%s`, left by an attempt that did not finish saving", name)
        files.remove_folder(layout.data_folder(name))
    for name in records:
        if name.startswith(".") and name.endswith(".tmp") and _older(name, generation):
            files.remove(layout.commits / name)
    return orphans


def _older(name: str, generation: int) -> bool:
    key = commit_key(Path(name[1:]).name[: -len(".tmp")].rpartition(".")[0])
    return key is not None and key.generation < generation
