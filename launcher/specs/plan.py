"""The plan: everything that will be executed, as one value that prints and travels as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from launcher.specs.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class Rendezvous:
    """Where the ranks of one attempt meet."""

    address: str
    port: int
    pinned: bool = False
    """True when the user chose the port: a busy one is then an error; else another is taken."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One attempt of one run."""

    schema: int = 1
    run_id: str
    attempt: int
    """1 for the first start. It is also the checkpoint generation, see `docs/checkpoints.md`."""
    recipe: str
    storage_root: str
    """Absolute path of the file system folder that all nodes see."""
    cluster: Cluster
    backend: str
    transport: str
    python: str
    """Interpreter on the nodes."""
    device: str
    """`cpu` or `cuda`; never `auto`."""
    program: Program
    code: FrozenCode | None = None
    """The copy that the program is part of; None when it runs from where it lies."""
    rendezvous: Rendezvous
    stage: tuple[StageItem, ...] = ()
    checkpoint: CheckpointPolicy
    commands: tuple[Command, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """Choices that were made for the user, each with its reason, to be shown."""

    @property
    def source(self) -> str:
        """The program as the person knows it; what runs may be a copy of it."""
        code = self.code
        return f"{code.project}/{code.program}" if code else self.program.path


# When checkpoints are written, kept and resumed from.
RESUME_WORDS = ("auto", "never", "required")
"""What `resume` may be, besides a step in digits."""


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """What the plan tells the ranks about checkpoints."""

    every_steps: int
    """Save after every so many optimiser steps; 0 saves only at the end and on a stop signal."""
    keep: int
    """How many newest commits retention leaves; at least 2, since the newest may be damaged."""
    resume: str
    """One of `RESUME_WORDS`, or the step to resume from, in digits."""


# What is executed: an argv, never a shell string.
@dataclass(frozen=True, kw_only=True)
class Program:
    """What every rank runs: a recipe of ours or any script of the user's."""

    path: str
    """Absolute path of a Python file."""
    args: tuple[str, ...] = ()
    recipe: str = "script"
    """Name of the recipe it belongs to."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One argv that a transport starts on one node."""

    node_rank: int
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    """Variables set on top of the inherited environment. Never holds a secret."""
    cwd: str


# What has to be brought to shared storage before the ranks start.
@dataclass(frozen=True, kw_only=True)
class StageItem:
    """One source, pinned, with the selection of its files that is wanted."""

    name: str
    """What the program asks for: `model`, `data` ..."""
    uri: str
    """`pypi://name==version`, `hf://org/model`, `build:///program.py`, or what fsspec knows."""
    revision: str = ""
    """Commit, tag or version, where the source has one."""
    include: tuple[str, ...] = ()
    """Patterns (fnmatch) of the files wanted; empty means all."""
    strip: str = ""
    """Leading folder to cut from the files' paths."""
    sha256: str = ""
    """Expected digest of the transferred archive or single file, where the config pins it."""
    options: dict[str, str] = field(default_factory=dict)
    """For `build://`: what the build program is told."""
    needs: tuple[str, ...] = ()
    """Names of items that a `build://` program reads; they are staged first."""

    def key(self, needed: tuple[str, ...] = ()) -> str:
        """Return 16 hex digits that name this request; equal requests share one staged folder.

        `needed` holds the keys of the items in `needs`, in their order: another input makes another
        result.
        """
        value = {**asdict(self), "needs": list(needed)}
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class StagedItem:
    """A verified snapshot, ready to read."""

    name: str
    key: str
    path: str
    """Folder that holds the files."""
    size_bytes: int
    files: int
    transferred_bytes: int
    """0 when it was already there."""
    seconds: float


# The code that a run uses, as it was when the run began.
@dataclass(frozen=True, kw_only=True)
class FrozenCode:
    """Which copy of a project belongs to a run; stands in its `code.json` and in every plan."""

    digest: str
    """Of all names, modes and contents."""
    place: str
    """Folder of the copy, relative to the storage root: that may be mounted elsewhere one day."""
    program: str
    """The program, relative to the copy."""
    imports: tuple[str, ...] = ()
    """Folders of the copy from which modules are imported, relative to it."""
    project: str
    """Folder that was copied."""
    cwd: str
    """Where the person stood: what the program opens by a relative path starts there."""
    commit: str = ""
    """Git commit of the project; empty outside of git."""
    dirty: bool = False
    """Whether something differed from that commit."""

    def folder(self, storage_root: str | Path) -> Path:
        """Return the copy's absolute folder."""
        return Path(storage_root) / self.place

    @property
    def short(self) -> str:
        """The part of the digest that names folders."""
        return short(self.digest)


def short(digest: str) -> str:
    """Return the part of a digest that names a folder: long enough, and still to be read."""
    return digest[:16]
