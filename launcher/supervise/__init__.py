"""Start, watch, stop and restart a run. The one owner of restarts, see `docs/supervise.md`."""

from launcher.supervise.closing import finished
from launcher.supervise.early import preemptible
from launcher.supervise.observer import NoObserver, Observer
from launcher.supervise.outcome import Outcome, OutcomeState
from launcher.supervise.policy import SupervisePolicy
from launcher.supervise.run import run

__all__ = [
    "NoObserver",
    "Observer",
    "Outcome",
    "OutcomeState",
    "SupervisePolicy",
    "finished",
    "preemptible",
    "run",
]
