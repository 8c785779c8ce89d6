"""Cheap checks before anything starts: all failures at once, in well under a second."""

from launcher.preflight.check import Check, CheckResult, Moment, PreflightConfig, Trouble
from launcher.preflight.diagnosis import Diagnosis, diagnose
from launcher.preflight.look import Look, LookRequest, look
from launcher.preflight.run import check
from launcher.preflight.table import Cell, Mark, Row, Table

__all__ = [
    "Cell",
    "Check",
    "CheckResult",
    "Diagnosis",
    "Look",
    "LookRequest",
    "Mark",
    "Moment",
    "PreflightConfig",
    "Row",
    "Table",
    "Trouble",
    "check",
    "diagnose",
    "look",
]
