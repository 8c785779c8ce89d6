"""The plan: everything that will be executed, as one value that prints and travels as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from launcher.specs.checkpoint import CheckpointPolicy
from launcher.specs.cluster import Cluster
from launcher.specs.code import FrozenCode
from launcher.specs.command import Command, Program
from launcher.specs.stage import StageItem


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
