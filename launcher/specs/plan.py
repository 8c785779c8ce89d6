"""The plan of one attempt: one value that prints, and travels to the nodes as JSON.

`Plan` comes first, then its parts in the order of its fields: program, stage items, checkpoint
policy, commands.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from launcher.errors import ConfigError, UnknownNameError
from launcher.specs.cluster import Cluster

RESUME_WORDS = ("auto", "never", "required")
"""Values of `resume` besides a step in digits."""
MIN_KEEP = 2
"""Checkpoints that retention always keeps, because the newest one may be damaged."""


@dataclass(frozen=True, kw_only=True)
class Rendezvous:
    """Where the ranks of one attempt connect to each other."""

    address: str
    port: int
    pinned: bool = False
    """True if the user chose the port. A busy port is then an error; otherwise another is used."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One attempt of one run."""

    schema: int = 1
    run_id: str
    attempt: int
    """1 for the first start. Also the checkpoint generation, see `docs/checkpoints.md`."""
    recipe: str
    storage_root: str
    """Absolute path of the folder that all nodes see."""
    cluster: Cluster
    backend: str
    transport: str
    python: str
    """Interpreter on the nodes."""
    device: str
    """`cpu` or `cuda`; never `auto`."""
    program: Program
    code: CodeSnapshot | None = None
    """The code snapshot that contains the program; None if the program runs from its own place."""
    rendezvous: Rendezvous
    stage: tuple[StageItem, ...] = ()
    checkpoint: CheckpointPolicy
    commands: tuple[Command, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """Choices that the launcher made, each with its reason, to be shown to the user."""

    @property
    def source(self) -> str:
        """Path of the program as the user knows it; the ranks may run a copy."""
        code = self.code
        return f"{code.project}/{code.program}" if code and code.program else self.program.path


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """When checkpoints are saved, how many are kept, and which one a run resumes from."""

    every_steps: int
    """Save after this many optimizer steps. 0 saves only at the end and on a stop request."""
    keep: int
    """How many of the newest checkpoints to keep, at least `MIN_KEEP`."""
    resume: str
    """`auto`, `never`, `required`, or a step in digits."""


def check_resume(resume: str) -> None:
    """Check a value of `resume`.

    Raises:
        UnknownNameError: it is not a word of `RESUME_WORDS` and not a step in digits.
    """
    if resume not in RESUME_WORDS and not re.fullmatch(r"[0-9]+", resume):
        raise UnknownNameError(
            "resume",
            resume,
            (*RESUME_WORDS, "<step>"),
            hint="`checkpoints ls RUN_ID` lists the steps",
        )


def check_keep(keep: int) -> None:
    """Check a value of `checkpoint.keep`.

    Raises:
        ConfigError: it is below `MIN_KEEP`.
    """
    if keep < MIN_KEEP:
        raise ConfigError(
            f"`checkpoint.keep={keep}` is impossible: expected {MIN_KEEP} or more, because the "
            "newest checkpoint may be damaged",
            hint=f"use `checkpoint.keep={MIN_KEEP}` or more",
        )


@dataclass(frozen=True, kw_only=True)
class Program:
    """What every rank runs: a recipe of ours, or a script or module of the user."""

    path: str
    """Absolute path of a Python file. Empty for a module whose file is not known here."""
    module: str = ""
    """Name of the module to run, as after `python -m`; empty runs the file at `path`."""
    args: tuple[str, ...] = ()
    recipe: str = "script"
    """Name of its recipe."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The words that follow `python` on a command line."""
        return (*(("-m", self.module) if self.module else (self.path,)), *self.args)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One argv, never a shell string, that a transport starts on one node."""

    node_rank: int
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    """Variables added to the inherited environment. Never contains a secret."""
    cwd: str


@dataclass(frozen=True, kw_only=True)
class StageItem:
    """One source to stage before the ranks start, and which of its files."""

    name: str
    """The name that the program uses: `model`, `data` ..."""
    uri: str
    """`pypi://name==version`, `hf://org/model`, `build:///program.py`, or any fsspec URI."""
    revision: str = ""
    """Commit, tag or version, if the source has one."""
    include: tuple[str, ...] = ()
    """Patterns (fnmatch) of the files to stage; empty means all."""
    strip: str = ""
    """Leading folder to remove from the paths."""
    sha256: str = ""
    """Expected digest of the archive or single file, if the config pins it."""
    options: dict[str, str] = field(default_factory=dict)
    """For `build://`: options of the build program."""
    needs: tuple[str, ...] = ()
    """For `build://`: names of the items that the build program reads. They are staged first."""

    def key(self, needed: tuple[str, ...] = ()) -> str:
        """Return 16 hex digits that name this request. Equal requests share one staged folder.

        `needed` has the keys of the items in `needs`, in their order, because another input gives
        another result.
        """
        value = {**asdict(self), "needs": list(needed)}
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class StagedItem:
    """A staged folder: complete, verified, ready to read."""

    name: str
    key: str
    path: str
    """Folder of the files."""
    size_bytes: int
    files: int
    transferred_bytes: int
    """0 if it was staged before."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CodeSnapshot:
    """The copy of the user's project that a run uses; stored in `code.json` and in every plan."""

    digest: str
    """Digest of all names, modes and contents."""
    place: str
    """Folder of the copy, relative to the storage root, which may later be mounted elsewhere."""
    program: str
    """The program, relative to the copy. Empty for a module of the environment; then the copy is
    empty, too."""
    imports: tuple[str, ...] = ()
    """Folders of the copy on the import path, relative to the copy."""
    project: str
    """The folder that was copied."""
    cwd: str
    """Working directory of the user. Relative paths in the program start here."""
    commit: str = ""
    """Git commit of the project; empty outside of git."""
    dirty: bool = False
    """Whether the project differs from that commit."""

    def folder(self, storage_root: str | Path) -> Path:
        """Return the absolute path of the copy."""
        return Path(storage_root) / self.place

    @property
    def short(self) -> str:
        """The part of the digest that is used in folder names."""
        return short(self.digest)


def short(digest: str) -> str:
    """Return the part of a digest that is used in folder names: unique enough, and readable."""
    return digest[:16]
