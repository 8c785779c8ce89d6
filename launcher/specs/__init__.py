"""Frozen values that travel between the steps, to the ranks and to disk. Standard library only."""

from launcher.specs.checkpoint import CheckpointPolicy
from launcher.specs.cluster import Cluster, Node, RankPlace
from launcher.specs.code import FrozenCode, short
from launcher.specs.codec import from_json, to_json
from launcher.specs.command import Command, Program
from launcher.specs.job import Job
from launcher.specs.layout import AttemptLayout, RunLayout
from launcher.specs.plan import Plan, Rendezvous
from launcher.specs.rank import RankException, RankRecord, RankState
from launcher.specs.stage import StagedItem, StageItem

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
