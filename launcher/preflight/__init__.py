"""Cheap checks before anything starts: all failures at once, in well under a second."""

from launcher.preflight.check import Check, CheckResult, Moment, PreflightConfig, Trouble
from launcher.preflight.look import Look, LookRequest, look
from launcher.preflight.run import check

__all__ = [
    "Check",
    "CheckResult",
    "Look",
    "LookRequest",
    "Moment",
    "PreflightConfig",
    "Trouble",
    "check",
    "look",
]
