"""The run folder: the only room that knows what its files contain. It reads and writes them.

`status`, `logs`, `why` and `stop` need nothing but this folder.
"""

from launcher.runs import environment, events, metrics
from launcher.runs.lock import (
    StopRequest,
    SupervisorRecord,
    clear_stop,
    is_alive,
    read_stop,
    read_supervisor,
    request_stop,
    rival,
)
from launcher.runs.logs import LogFile, follow, log_files
from launcher.runs.records import (
    attempts,
    find,
    list_runs,
    newest_attempt,
    read_plan,
    read_ranks,
)
from launcher.runs.status import NodeStatus, RunState, RunStatus, read_status

__all__ = [
    "LogFile",
    "NodeStatus",
    "RunState",
    "RunStatus",
    "StopRequest",
    "SupervisorRecord",
    "attempts",
    "clear_stop",
    "environment",
    "events",
    "find",
    "follow",
    "is_alive",
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
]
