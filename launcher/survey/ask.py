"""Asking all nodes at once how they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.specs import Node
from launcher.survey.facts import NodeFacts, from_answer
from launcher.survey.marker import Marker
from launcher.survey.sources import source
from launcher.transports import Transport

LAUNCHER = "hydra-torch-launcher"
PACKAGES = (
    *(LAUNCHER, "torch", "numpy", "transformers", "datasets", "safetensors"),
    *("horovod", "mpi4py", "nvidia-nccl-cu12", "nvidia-nccl-cu13"),
)
"""Whose versions matter to a run."""
_SPARE_S = 2.0
"""What a probe leaves of its time, so that its answer is back before the transport ends it."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the nodes are asked."""

    root: Path
    """The storage root."""
    ports: tuple[int, ...] = ()
    """Which of these are free?"""
    write: bool = False
    """Whether to write in the storage root, to see whether all nodes share it."""
    timeout_s: float = 10.0


def ask(transport: Transport, nodes: Sequence[Node], question: Question) -> tuple[NodeFacts, ...]:
    """Return what every node says of itself, in their order; never raises for a node.

    Raises:
        OSError: the storage root cannot be written from here.
    """
    with Marker(question.root, active=question.write) as marker:
        requests = {
            node.node_rank: {
                "rank": node.node_rank,
                "packages": PACKAGES,
                "root": str(question.root),
                "head": nodes[0].name,
                "ports": question.ports,
                "limit_s": max(1.0, question.timeout_s - _SPARE_S),
                "marker": str(marker.folder or ""),
                "nonce": marker.nonce,
            }
            for node in nodes
        }
        asked_at = time.time()
        answers = transport.ask(source("node_probe"), requests, timeout_s=question.timeout_s)
        asked = (asked_at, time.time())
        facts = [from_answer(answers[node.node_rank], node.name, asked) for node in nodes]
        return tuple(marker.checked(each) for each in facts)
