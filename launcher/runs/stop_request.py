"""Asking a run to stop, from any machine that sees its folder."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass

from launcher.files import replace
from launcher.runs.environment import user_name
from launcher.runs.files import read_object
from launcher.specs import RunLayout


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """What `stop.json` says."""

    at: float
    by: str
    reason: str


def request_stop(layout: RunLayout, *, reason: str = "stop was asked for") -> StopRequest:
    """Ask the run's supervisor to let all ranks save and leave; it looks about once a second."""
    request = StopRequest(at=time.time(), by=_who(), reason=reason)
    replace(layout.stop, json.dumps({"at": request.at, "by": request.by, "reason": reason}))
    return request


def read_stop(layout: RunLayout) -> StopRequest | None:
    """Return the request that stands in the folder, if any."""
    found = read_object(layout.stop)
    if not found:
        return None
    at = found.get("at", 0.0)
    return StopRequest(
        at=float(at) if isinstance(at, int | float) else 0.0,
        by=str(found.get("by", "somebody")),
        reason=str(found.get("reason", "")),
    )


def clear_stop(layout: RunLayout) -> None:
    """Forget an old request: whoever starts a run again wants it to run. Supervisor only."""
    layout.stop.unlink(missing_ok=True)


def _who() -> str:
    return f"{user_name()}@{socket.gethostname()}"
