"""How an argv reaches a node: dumb on purpose, so that everything that runs stands in the plan."""

from launcher.transports.run_processes import end_run, send_signal
from launcher.transports.transport import TRANSPORTS, Answer, Process, Reach, Transport, create

__all__ = [
    "TRANSPORTS",
    "Answer",
    "Process",
    "Reach",
    "Transport",
    "create",
    "end_run",
    "send_signal",
]
