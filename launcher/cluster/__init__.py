"""Sources: where the node list comes from, and which of the machines become nodes.

`candidates` says what there is, somebody may ask these machines how they are, `choose` decides.
"""

from launcher.cluster.candidate import Candidate, Candidates, Condition
from launcher.cluster.choice import choose
from launcher.cluster.machine import Machine
from launcher.cluster.request import ClusterRequest
from launcher.cluster.source import candidates, require_real, resolve

__all__ = [
    "Candidate",
    "Candidates",
    "ClusterRequest",
    "Condition",
    "Machine",
    "candidates",
    "choose",
    "require_real",
    "resolve",
]
