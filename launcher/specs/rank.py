"""The status file of a rank."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class RankState(StrEnum):
    """The state of a rank, as it reports it itself."""

    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    SAVED = "saved"
    """Exited after a stop request, with a committed checkpoint."""
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class RankException:
    """The exception that ended a rank."""

    at: float
    """Seconds since the epoch, by the clock of the rank's node."""
    kind: str
    """Class name, with its module unless it is a builtin."""
    message: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class RankRecord:
    """Content of a rank's status file, replaced atomically about once a second."""

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
    """When the rank last wrote. A thread writes it, so it continues while the program hangs."""
    progress_at: float
    """When the program last began a step or a phase. If this is old, the rank hangs."""
    phase: str = "start"
    """`start`, `restore`, `train`, `eval`, `save`, or another name that the program uses."""
    step: int = 0
    total_steps: int = 0
    """0 if unknown."""
    loss: float | None = None
    samples_per_s: float | None = None
    committed_step: int | None = None
    """Newest step that this rank knows to be committed."""
    phase_seconds: dict[str, float] = field(default_factory=dict)
    """Seconds that this rank spent in each phase so far."""
    exit_code: int | None = None
    signal: int | None = None
    """Signal that ended it, if its agent saw one."""
    exception: RankException | None = None
