"""The run folder, read back: `status`, `logs`, `why` and `stop` need nothing else."""

from launcher.runs import environment, events, files, logs
from launcher.runs.listing import find, latest, list_runs
from launcher.runs.lock import Supervisor, is_alive, read_supervisor, rival
from launcher.runs.logs import LogFile, follow, log_files
from launcher.runs.records import attempts, newest_attempt, read_plan, read_ranks
from launcher.runs.status import NodeStatus, RunState, RunStatus, read_status
from launcher.runs.stop_request import StopRequest, clear_stop, read_stop, request_stop

__all__ = [
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
    "follow",
    "is_alive",
    "latest",
    "list_runs",
    "log_files",
    "logs",
    "newest_attempt",
    "read_plan",
    "read_ranks",
    "read_status",
    "read_stop",
    "read_supervisor",
    "request_stop",
    "rival",
]
