"""Nodes: which machines there are, how they are, and which of them a run uses.

`candidates` lists the machines of a source, `look` asks them, `choose` decides.
"""

from launcher.nodes.candidate import Candidate, Candidates, Condition
from launcher.nodes.choose import choose
from launcher.nodes.config import ClusterConfig, NodesRequest, PreflightConfig
from launcher.nodes.doctor import Diagnosis, diagnose
from launcher.nodes.find import Look, LookRequest, look
from launcher.nodes.local import Machine
from launcher.nodes.source import SOURCES, Source, candidates, require_real, resolve
from launcher.nodes.table import Cell, Mark, Row, Table

__all__ = [
    "SOURCES",
    "Candidate",
    "Candidates",
    "Cell",
    "ClusterConfig",
    "Condition",
    "Diagnosis",
    "Look",
    "LookRequest",
    "Machine",
    "Mark",
    "NodesRequest",
    "PreflightConfig",
    "Row",
    "Source",
    "Table",
    "candidates",
    "choose",
    "diagnose",
    "look",
    "require_real",
    "resolve",
]
