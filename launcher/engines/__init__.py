"""Engines: what starts and connects the ranks, and what each needs. Imports none of them."""

from launcher.engines.needs import require
from launcher.engines.table import BACKENDS, Backend, BackendRequest, commands

__all__ = ["BACKENDS", "Backend", "BackendRequest", "commands", "require"]
