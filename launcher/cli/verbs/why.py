"""`why`: what broke first, where, and what to do."""

from __future__ import annotations

from launcher import failures
from launcher.cli.arguments import Invocation
from launcher.cli.commands import command_line
from launcher.cli.folders import run_folder


def main(invocation: Invocation) -> int:
    """Print the incident report of a run."""
    print(failures.why(run_folder(invocation), commands=command_line(invocation)))
    return 0
