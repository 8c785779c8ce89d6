"""The command line: verbs to calls, errors to exit codes. Only this room prints."""

from launcher.cli.main import entry_point

__all__ = ["entry_point"]
