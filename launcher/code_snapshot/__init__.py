"""Takes a snapshot of a run's code, so that later edits change nothing (docs/code-snapshot.md)."""

from launcher.code_snapshot.snapshot import RunCode

__all__ = ["RunCode"]
