"""Frozen values that travel between the steps, to the ranks and to disk. Standard library only."""

from launcher.specs.cluster import Cluster, Node, RankPlace
from launcher.specs.codec import from_json, to_json
from launcher.specs.layout import AttemptLayout, RunLayout
from launcher.specs.plan import (
    CheckpointPolicy,
    Command,
    FrozenCode,
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
    "Command",
    "FrozenCode",
    "Job",
    "Node",
    "Plan",
    "Program",
    "RankException",
    "RankPlace",
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
