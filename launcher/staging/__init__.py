"""Models, data and what is built from them, brought once to where the ranks read them.

The configuration pieces are imported without the rest: the command line must start quickly.
"""

from launcher.staging.config import DataConfig, ModelConfig
from launcher.staging.items import items
from launcher.staging.progress import CountingProgress, NoProgress, Progress
from launcher.staging.snapshot import verify
from launcher.staging.stage import STAGED, stage

__all__ = [
    "STAGED",
    "CountingProgress",
    "DataConfig",
    "ModelConfig",
    "NoProgress",
    "Progress",
    "items",
    "stage",
    "verify",
]
