"""What is asked of a source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClusterRequest:
    """What the user asks of the cluster."""

    source: str
    nodes: int | None = None
    """How many nodes; None takes all that the source has."""
    slots: int | None = None
    """Ranks per node; None lets the source decide."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    hostfile: str = ""
    hosts: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    head: str = ""
    """Name of the node that is to be the head; empty takes the first."""
    spares: tuple[str, ...] = ()
    min_nodes: int = 1
    """With how many nodes a run may go on after others were lost."""
