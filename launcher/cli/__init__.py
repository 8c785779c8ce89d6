"""The command line: verbs to calls, errors to exit codes. The only room that prints."""

from launcher.cli.main import entry_point

__all__ = ["entry_point"]
