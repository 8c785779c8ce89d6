"""Freezing the code of a run, so that later edits change nothing; see `docs/code-snapshot.md`."""

from launcher.code_snapshot.use import Code

__all__ = ["Code"]
