"""Cheap checks before anything starts. All problems are reported together."""

from launcher.preflight.checks import CHECKS, check, require_program
from launcher.preflight.run import Check, Problem, Subject

__all__ = ["CHECKS", "Check", "Problem", "Subject", "check", "require_program"]
