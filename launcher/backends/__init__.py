"""Backends: what starts and connects the ranks. Pure: a request becomes commands, nothing runs."""

from launcher.backends.backend import BACKENDS, BackendRequest, commands

__all__ = ["BACKENDS", "BackendRequest", "commands"]
