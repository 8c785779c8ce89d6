"""Start, watch, stop and restart a run. Nothing else restarts one; see `docs/supervise.md`.

Importing `launcher.supervise.config` is cheap: the rest is imported when it is used, because every
command reads the configuration.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from launcher.supervise.config import SuperviseConfig

if TYPE_CHECKING:
    from launcher.supervise.event_log import NoObserver, Observer
    from launcher.supervise.preparation import prepare
    from launcher.supervise.result import RunResult, finished
    from launcher.supervise.supervisor import run
    from launcher.supervise.verdict import Verdict

__all__ = [
    "NoObserver",
    "Observer",
    "RunResult",
    "SuperviseConfig",
    "Verdict",
    "finished",
    "prepare",
    "run",
]

_HOMES = {
    "NoObserver": "launcher.supervise.event_log",
    "Observer": "launcher.supervise.event_log",
    "RunResult": "launcher.supervise.result",
    "Verdict": "launcher.supervise.verdict",
    "finished": "launcher.supervise.result",
    "prepare": "launcher.supervise.preparation",
    "run": "launcher.supervise.supervisor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
