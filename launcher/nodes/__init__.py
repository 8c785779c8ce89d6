"""Nodes: the machines that exist, whether they are fit, and which of them a run uses.

`candidates` lists the machines of a source. `find` asks them, judges them, and chooses. `diagnose`
also measures their connections.
"""

from launcher.nodes.candidate import Candidate, Candidates, Condition, NodesRequest
from launcher.nodes.choose import choose
from launcher.nodes.config import ClusterConfig, PreflightConfig
from launcher.nodes.doctor import Diagnosis, diagnose
from launcher.nodes.facts import NodeNeeds
from launcher.nodes.find import ChosenNodes, find, inspect_this_machine
from launcher.nodes.health import INTERFACE_VARIABLES
from launcher.nodes.local import Machine
from launcher.nodes.slurm_task import refuse_many_launchers
from launcher.nodes.source import SOURCES, Source, candidates, require_real
from launcher.nodes.table import HealthRow, Mark

__all__ = [
    "INTERFACE_VARIABLES",
    "SOURCES",
    "Candidate",
    "Candidates",
    "ChosenNodes",
    "ClusterConfig",
    "Condition",
    "Diagnosis",
    "HealthRow",
    "Machine",
    "Mark",
    "NodeNeeds",
    "NodesRequest",
    "PreflightConfig",
    "Source",
    "candidates",
    "choose",
    "diagnose",
    "find",
    "inspect_this_machine",
    "refuse_many_launchers",
    "require_real",
]
