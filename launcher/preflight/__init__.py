"""Cheap checks before anything starts. All problems are reported together."""

from launcher.preflight.checks import CHECKS, check
from launcher.preflight.run import Check, CheckResult, Problem, Subject

__all__ = ["CHECKS", "Check", "CheckResult", "Problem", "Subject", "check"]
