"""Cheap checks before anything starts: all failures at once, in well under a second."""

from launcher.nodes.doctor import Diagnosis, diagnose
from launcher.nodes.find import Look, LookRequest, look
from launcher.nodes.table import Cell, Mark, Row, Table
from launcher.preflight.check import Check, CheckResult, Moment, Trouble
from launcher.preflight.run import check

__all__ = [
    "Cell",
    "Check",
    "CheckResult",
    "Diagnosis",
    "Look",
    "LookRequest",
    "Mark",
    "Moment",
    "Row",
    "Table",
    "Trouble",
    "check",
    "diagnose",
    "look",
]
