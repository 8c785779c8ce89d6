"""Finds the root cause of a failed attempt in its run folder, and reports it on one screen."""

from launcher.failures.causes import FailureKind, FirstFailure
from launcher.failures.report import why
from launcher.failures.root_cause import first_failure

__all__ = ["FailureKind", "FirstFailure", "first_failure", "why"]
