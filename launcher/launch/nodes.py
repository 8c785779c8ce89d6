"""Which nodes an attempt runs on: asks them how they are, and chooses."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import nodes, transports
from launcher import plan as planning
from launcher.config import CodeChoice, LaunchConfig
from launcher.nodes import Look
from launcher.preflight.ports import is_free
from launcher.specs import Cluster

PORT_TRIES = 50
"""Ports of an attempt that are tried before a busy one is taken for what it is."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The nodes of one attempt, and what they said if they were asked."""

    attempt: int
    nodes: Cluster
    seen: Look | None = None

    def is_free(self, address: str, port: int) -> bool:
        """Tell whether ranks can meet there; what the others reached on that node is known."""
        if self.seen is None:
            return is_free(address, port)
        names = [node.name for node in self.nodes.nodes if node.address == address]
        return any(self.seen.ports.get(name) == port for name in names)

    def environment(self) -> dict[str, dict[str, Any]]:
        """Return what each node that was asked is made of."""
        return self.seen.environment() if self.seen else {}


def find(
    config: LaunchConfig, attempt: int, *, write: bool = False, at_least: int | None = None
) -> Found:
    """Choose the nodes of `attempt`, after they were asked how they are if that makes sense.

    Args:
        config: the run.
        attempt: decides at which ports the ranks may meet.
        write: have the nodes write in the storage root, to see whether they can.
        at_least: how many nodes are enough; None insists on all.

    Raises:
        PreflightError: too few of them can be used; with the reason for each other one.
    """
    asked = config.nodes_request
    candidates = nodes.candidates(asked)
    if candidates.complete or not config.cluster.probe:
        chosen = nodes.choose(candidates, None, asked, at_least=at_least)
        return Found(attempt=attempt, nodes=chosen)
    request = look_request(config, attempt, write=write)
    with contextlib.closing(transport_to(config, candidates)) as transport:
        seen = nodes.look(candidates, transport, request)
    chosen = seen.choose(candidates, asked, at_least=at_least)
    return Found(attempt=attempt, nodes=chosen, seen=seen)


def look_request(config: LaunchConfig, attempt: int, *, write: bool) -> nodes.LookRequest:
    """Return what the nodes are to be asked."""
    derived = tuple(planning.port(config.run_id, attempt, each) for each in range(PORT_TRIES))
    return nodes.LookRequest(
        root=Path(config.storage.root),
        ports=derived,
        pinned=config.cluster.port,
        backend=config.backend.name,
        device=config.device.value,
        slots=config.nodes_request.slots,
        min_free_gb=config.preflight.min_free_gb,
        brings_launcher=config.code is not CodeChoice.shared,
        write=write,
    )


def transport_to(config: LaunchConfig, candidates: nodes.Candidates) -> transports.Transport:
    """Return a connection to all candidates; who takes it closes it."""
    reach = transports.Reach(nodes=candidates.nodes, python=config.cluster.interpreter)
    return transports.create(nodes.SOURCES[candidates.source].transport, reach)
