"""What a run asks for, and the machines that may become its nodes."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.nodes.config import ClusterConfig
from launcher.specs import Node


@dataclass(frozen=True, kw_only=True)
class NodesRequest:
    """Which nodes a run asks for."""

    cluster: ClusterConfig
    nodes: int | None = None
    """How many; None takes all that the source has."""
    slots: int | None = None
    """Ranks on each; None lets the source decide."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One machine that a source offers."""

    node: Node
    """What the source knows about it. `node_rank` is its place among the candidates, by which a
    transport reaches it; `choose` decides its rank in the run."""
    slots: int | None = None
    """Ranks that the source gives it; None means one for each GPU, or `cpu_slots` without GPUs."""
    max_slots: int | None = None
    """Most ranks that the source permits."""
    cpu_slots: int = 1
    """Ranks without GPUs, if nothing else gives a number."""
    spare: bool = False
    """Used only in place of a host that is not healthy."""

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """All machines that a source offers, in the order of preference: the head, hosts, spares."""

    source: str
    hosts: tuple[Candidate, ...]
    complete: bool = False
    """The source knows everything about them: the machines need not be asked."""
    notes: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What a transport needs to reach them all."""
        return tuple(host.node for host in self.hosts)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The health and the resources of one candidate."""

    healthy: bool
    reason: str = ""
    """Why it is not healthy, in one line."""
    cpus: int = 1
    """Cores that a run may use."""
    gpus: tuple[str, ...] = ()
    """As `CUDA_VISIBLE_DEVICES` writes them: indices or UUIDs."""
    has_cuda: bool = False
    """Whether its torch is a CUDA build."""
    address: str = ""
    """Where the other nodes reach it."""
    interface: str = ""
    """Network interface that has this address."""
