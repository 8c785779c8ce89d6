"""Requests for nodes, as a configuration makes them."""

from __future__ import annotations

from typing import Any

from launcher.nodes import ClusterConfig, NodesRequest


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
