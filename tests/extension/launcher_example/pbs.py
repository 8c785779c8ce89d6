"""`cluster=pbs`: the nodes of a PBS job, from the file that `PBS_NODEFILE` names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import ConfigError
from launcher.nodes import Candidate, Candidates, Machine, NodesRequest
from launcher.nodes.source import Source
from launcher.specs import Node

SOURCE = Source(
    name="pbs", candidates="launcher_example.pbs:candidates", transport="ssh", knows_cores=False
)


def candidates(request: NodesRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
    """Return one candidate per host; a host has one line for each of its slots."""
    file = environ.get("PBS_NODEFILE")
    if not file:
        raise ConfigError(
            "cluster=pbs must run inside a PBS job: PBS_NODEFILE is not set",
            hint="start the launcher in a script that you submit with qsub",
        )
    slots = Counter(Path(file).read_text(encoding="utf-8").split())
    hosts = [
        Candidate(node=Node(node_rank=rank, name=name, address=name, slots=0), slots=count)
        for rank, (name, count) in enumerate(slots.items())
    ]
    return Candidates(source="pbs", hosts=tuple(hosts))
