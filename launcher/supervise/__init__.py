"""Start, watch, stop and restart a run. The one owner of restarts, see `docs/supervise.md`."""

from launcher.supervise.config import SuperviseConfig
from launcher.supervise.event_log import NoObserver, Observer
from launcher.supervise.result import Outcome, OutcomeState, finished
from launcher.supervise.run import run
from launcher.supervise.stop_requests import preemptible

__all__ = [
    "NoObserver",
    "Observer",
    "Outcome",
    "OutcomeState",
    "SuperviseConfig",
    "finished",
    "preemptible",
    "run",
]
