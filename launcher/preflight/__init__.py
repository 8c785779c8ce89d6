"""Cheap checks before anything starts: all failures at once, in well under a second."""

from launcher.preflight.check import Check, CheckResult, Moment, PreflightConfig, Trouble
from launcher.preflight.run import check

__all__ = ["Check", "CheckResult", "Moment", "PreflightConfig", "Trouble", "check"]
