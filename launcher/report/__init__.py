"""`report.html`: one file that shows a run in any browser, without a network."""

from launcher.report.page import write

__all__ = ["write"]
