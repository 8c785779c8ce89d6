"""The run folder, read back: `status`, `logs`, `why` and `stop` need nothing else."""

from launcher.runs import environment, events, files, metrics
from launcher.runs.failure import FailureKind, FirstFailure
from launcher.runs.incident import first_failure, why
from launcher.runs.listing import find, latest, list_runs
from launcher.runs.logs import LogFile, follow, log_files
from launcher.runs.records import attempts, newest_attempt, read_plan, read_ranks
from launcher.runs.requests import StopRequest, clear_stop, read_stop, request_stop
from launcher.runs.status import NodeStatus, RunState, RunStatus, read_status
from launcher.runs.supervisor import Supervisor, is_alive, read_supervisor, rival

__all__ = [
    "FailureKind",
    "FirstFailure",
    "LogFile",
    "NodeStatus",
    "RunState",
    "RunStatus",
    "StopRequest",
    "Supervisor",
    "attempts",
    "clear_stop",
    "environment",
    "events",
    "files",
    "find",
    "first_failure",
    "follow",
    "is_alive",
    "latest",
    "list_runs",
    "log_files",
    "metrics",
    "newest_attempt",
    "read_plan",
    "read_ranks",
    "read_status",
    "read_stop",
    "read_supervisor",
    "request_stop",
    "rival",
    "why",
]
