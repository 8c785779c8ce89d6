"""How commands reach a node and how a node answers questions: local, ssh, srun."""

from launcher.transports.run_processes import end_run, send_signal
from launcher.transports.transport import (
    TRANSPORTS,
    Answer,
    Process,
    Reach,
    Transport,
    TransportRow,
    create,
)

__all__ = [
    "TRANSPORTS",
    "Answer",
    "Process",
    "Reach",
    "Transport",
    "TransportRow",
    "create",
    "end_run",
    "send_signal",
]
