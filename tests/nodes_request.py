"""Requests for nodes, as a configuration makes them, and the clusters that they lead to."""

from __future__ import annotations

from typing import Any

from launcher.nodes import ClusterConfig, Machine, NodesRequest, candidates, choose
from launcher.specs import Cluster


def nodes_request(
    source: str,
    *,
    nodes: int | None = None,
    slots: int | None = None,
    device: str = "auto",
    **cluster: Any,
) -> NodesRequest:
    """Return the request for `cluster=SOURCE nodes=N slots=N device=D`; `cluster` are its keys."""
    config = ClusterConfig(name=source, **cluster)
    return NodesRequest(cluster=config, nodes=nodes, slots=slots, device=device)


def cluster_for(request: NodesRequest, machine: Machine | None = None) -> Cluster:
    """Return the cluster for `request` on `machine`, without asking any node."""
    return choose(candidates(request, machine), None, request)
