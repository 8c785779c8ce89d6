"""Machines that may become nodes, before and after somebody asked them how they are."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.specs import Node


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One machine that a source offers."""

    node: Node
    """As far as the source knows it. `node_rank` is its place among the candidates, by which a
    transport reaches it; what it will be in the run, `choose` decides."""
    slots: int | None = None
    """Ranks that the source states; None: as many as it has GPUs, else `cpu_slots`."""
    max_slots: int | None = None
    """Ranks that the source permits at most."""
    cpu_slots: int = 1
    """Ranks it takes when nobody states a number and it has no GPUs."""
    spare: bool = False
    """It is used only when others are not healthy."""

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """All machines that a source offers, in the order of preference: the head, hosts, spares."""

    source: str
    hosts: tuple[Candidate, ...]
    complete: bool = False
    """The source knows everything about them: there is nothing to ask the machines."""
    notes: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What a transport needs to reach them all."""
        return tuple(host.node for host in self.hosts)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What one machine said of itself, or why it said nothing."""

    healthy: bool
    reason: str = ""
    """Why it is not healthy, in one line."""
    cpus: int = 1
    """Cores that a run may use there."""
    gpus: tuple[str, ...] = ()
    """As `CUDA_VISIBLE_DEVICES` writes them: indices or UUIDs."""
    has_cuda: bool = False
    """Whether the torch over there is a CUDA build."""
    address: str = ""
    """Where the other nodes reach it."""
    interface: str = ""
    """Network interface that has this address."""
