"""Configuration: the only rooms that know Hydra."""

from launcher.config import compare
from launcher.config.build import plain
from launcher.config.load import load
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
]
