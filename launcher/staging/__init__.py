"""Staging: models, data, and what is built from them, in a local folder for the ranks."""

from launcher.staging.config import DataConfig, ModelConfig
from launcher.staging.items import items
from launcher.staging.progress import CountingProgress, NoProgress, Progress
from launcher.staging.snapshot import verify
from launcher.staging.stage import stage

__all__ = [
    "CountingProgress",
    "DataConfig",
    "ModelConfig",
    "NoProgress",
    "Progress",
    "items",
    "stage",
    "verify",
]
