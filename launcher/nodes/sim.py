"""`cluster=sim`: nodes that only pretend, to look at the plan of a large run. Nothing can start."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from launcher.nodes.candidate import Candidate, Candidates
from launcher.nodes.config import NodesRequest
from launcher.nodes.local import Machine
from launcher.specs import Node

_FIRST = ipaddress.IPv4Address("198.18.0.1")  # of the range kept for benchmarks: nobody's address


def candidates(request: NodesRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
    """Pretend `request.nodes` nodes like this machine, with a GPU per rank if CUDA is asked for."""
    nodes = request.nodes or 1
    slots = request.slots or 1
    gpus = tuple(str(index) for index in range(slots)) if request.device == "cuda" else ()
    width = len(str(nodes - 1))
    return Candidates(
        source="sim",
        complete=True,
        notes=("cluster=sim: these nodes do not exist",),
        hosts=tuple(
            Candidate(
                slots=slots,
                node=Node(
                    node_rank=rank,
                    name=f"sim{rank:0{width}}",
                    address=str(_FIRST + rank),
                    interface="eth0",
                    slots=slots,
                    gpus=gpus,
                    cpus=machine.cpus,
                ),
            )
            for rank in range(nodes)
        ),
    )
