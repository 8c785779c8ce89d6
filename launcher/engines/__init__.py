"""Engines: what starts and connects the ranks, and what each needs. Imports none of them.

Pure, but for the installer: a request becomes commands, nothing runs.
"""

from launcher.engines.needs import require
from launcher.engines.table import BACKENDS, BackendRequest, commands

__all__ = ["BACKENDS", "BackendRequest", "commands", "require"]
