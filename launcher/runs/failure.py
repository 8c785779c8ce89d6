"""The first failure of an attempt, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """Kinds of failure that have a sentence and a next step of their own."""

    EXCEPTION = "exception"
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel or somebody else sent SIGKILL, which nearly always is memory."""
    CUDA_OUT_OF_MEMORY = "cuda_out_of_memory"
    CUDA_UNAVAILABLE = "cuda_unavailable"
    CUDA_ERROR = "cuda_error"
    DISK_FULL = "disk_full"
    SHARED_MEMORY = "shared_memory"
    """SIGBUS: /dev/shm was full."""
    SEGFAULT = "segfault"
    TERMINATED = "terminated"
    """SIGTERM or another signal from outside, without a save."""
    SIGNALLED = "signalled"
    MODULE_MISSING = "module_missing"
    FILE_MISSING = "file_missing"
    PORT_IN_USE = "port_in_use"
    RENDEZVOUS = "rendezvous"
    NOT_FINITE = "not_finite"
    CHECKPOINT = "checkpoint"
    NO_CHECKPOINT = "no_checkpoint"
    """Some were committed, and none of them can be read."""
    CONFIG = "config"
    CONNECTION = "connection"
    """Another rank went away; the cause when nobody else says anything better."""
    HANG = "hang"
    AGENT_LOST = "agent_lost"
    NODE_LOST = "node_lost"
    """A whole machine went away, or cannot be reached any more."""
    EXIT_CODE = "exit_code"
    """It left with a code and no exception."""
    NEVER_STARTED = "never_started"


@dataclass(frozen=True, kw_only=True)
class FirstFailure:
    """What broke first, where, and what to do."""

    kind: FailureKind
    at: float
    """Seconds since the epoch; 0 when nobody knows."""
    attempt: int
    rank: int | None
    """None when a node's agent failed, not a rank."""
    node_rank: int
    node: str
    sentence: str
    """What happened, in plain words."""
    next_step: str
    """What to do about it."""
    detail: str = ""
    """Cleaned traceback, stack of the hung rank, or last lines of the log."""
    others: tuple[str, ...] = ()
    """The other ranks' failures, folded: one line per kind."""
