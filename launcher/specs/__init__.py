"""Frozen values that the rooms exchange, send to the ranks and write to disk.

Standard library only.
"""

from launcher.specs.cluster import Cluster, Node
from launcher.specs.codec import from_json, to_json
from launcher.specs.layout import AttemptLayout, RunLayout
from launcher.specs.plan import (
    CheckpointPolicy,
    CodeSnapshot,
    Command,
    Plan,
    Program,
    Rendezvous,
    StagedItem,
    StageItem,
    short,
)
from launcher.specs.rank import RankException, RankRecord, RankState
from launcher.specs.slurm import Job

__all__ = [
    "AttemptLayout",
    "CheckpointPolicy",
    "Cluster",
    "CodeSnapshot",
    "Command",
    "Job",
    "Node",
    "Plan",
    "Program",
    "RankException",
    "RankRecord",
    "RankState",
    "Rendezvous",
    "RunLayout",
    "StageItem",
    "StagedItem",
    "from_json",
    "short",
    "to_json",
]
