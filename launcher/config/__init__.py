"""Composes the configuration with Hydra, checks it and freezes it."""

from launcher.config import compare
from launcher.config.load import load
from launcher.config.register import plain
from launcher.config.repeat import repeatable
from launcher.config.saved import dump, load_saved
from launcher.config.schema import CodeChoice, LaunchConfig, default_root

__all__ = [
    "CodeChoice",
    "LaunchConfig",
    "compare",
    "default_root",
    "dump",
    "load",
    "load_saved",
    "plain",
    "repeatable",
]
