"""What a rank tells the outside: the content of its status file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class RankState(StrEnum):
    """The life of a rank, as its own status file tells it."""

    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    SAVED = "saved"
    """Left on request after a checkpoint was committed."""
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class RankException:
    """The exception that ended a rank."""

    at: float
    """Seconds since the epoch, by the clock of the rank's node."""
    kind: str
    """Class name, with its module unless that is builtins."""
    message: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class RankRecord:
    """One rank's status file, replaced as a whole (write beside, rename) about once a second."""

    rank: int
    local_rank: int
    node_rank: int
    node: str
    host: str
    pid: int
    attempt: int
    state: RankState
    started_at: float
    heartbeat_at: float
    """When the rank last wrote; a thread does it, so it goes on while the program hangs."""
    progress_at: float
    """When the program last did something: a step, a phase. Its age is what tells a hang."""
    phase: str = "start"
    """`start`, `restore`, `train`, `eval`, `save` ... as the program names them."""
    step: int = 0
    total_steps: int = 0
    """0 when unknown."""
    loss: float | None = None
    samples_per_s: float | None = None
    committed_step: int | None = None
    """Newest step whose commit this rank knows to be durable."""
    phase_seconds: dict[str, float] = field(default_factory=dict)
    """Where this rank's time went so far."""
    exit_code: int | None = None
    signal: int | None = None
    """Signal that ended it, where its agent saw one."""
    exception: RankException | None = None
