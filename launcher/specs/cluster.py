"""The cluster: its nodes, the number of ranks on each, and the node of each rank."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of a run, or one share of a machine with `cluster=local`."""

    node_rank: int
    """0 is the head; every other node is a worker."""
    name: str
    """A host name, or `local0`, `local1` ... on one machine."""
    address: str
    """Address at which the other nodes reach it."""
    interface: str = ""
    """Network interface of this address, such as `eth0`; empty if the node was not probed."""
    ssh: str = ""
    """Destination for ssh: `alice@gpu1`, or a name in the user's ssh configuration. Empty means
    `name`."""
    ssh_port: int = 0
    """Port for ssh; 0 means the one of the user's ssh configuration."""
    slots: int
    """Number of ranks; 0 means the node only coordinates."""
    gpus: tuple[str, ...] = ()
    """Devices of its ranks, as in `CUDA_VISIBLE_DEVICES`; empty on a CPU run."""
    cpus: int = 1
    """CPU cores of its ranks."""

    @property
    def role(self) -> str:
        return "head" if self.node_rank == 0 else "worker"

    @property
    def ssh_destination(self) -> str:
        return self.ssh or self.name


@dataclass(frozen=True, kw_only=True)
class RankPlace:
    """The node of one rank."""

    rank: int
    local_rank: int
    node: Node


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The nodes of one attempt; the head is the first."""

    nodes: tuple[Node, ...]
    source: str
    """The source of the nodes: `local`, `hostfile`, `slurm`."""
    notes: tuple[str, ...] = ()
    """Choices that the launcher made, each with its reason, to be shown with the plan."""

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def world_size(self) -> int:
        return sum(node.slots for node in self.nodes)

    def places(self) -> tuple[RankPlace, ...]:
        """Every rank in order. Ranks are numbered node by node, as all engines do."""
        slots = [(node, local) for node in self.nodes for local in range(node.slots)]
        return tuple(
            RankPlace(rank=rank, local_rank=local, node=node)
            for rank, (node, local) in enumerate(slots)
        )


_REPEATED = re.compile(r"\s*([0-9]+)(?:\(x([0-9]+)\))?\s*")


def write_counts(counts: Iterable[int]) -> str:
    """Return one number per node in Slurm's short form: `2(x3),1` for 2, 2, 2, 1."""
    runs = ((count, sum(1 for _ in run)) for count, run in itertools.groupby(counts))
    return ",".join(str(count) if times == 1 else f"{count}(x{times})" for count, times in runs)


def read_counts(text: str) -> tuple[int, ...]:
    """Return the numbers in `text`, which has the form that `write_counts` returns.

    Raises:
        ValueError: it has another form.
    """
    counts: list[int] = []
    for part in text.split(",") if text else ():
        match = _REPEATED.fullmatch(part)
        if match is None:
            raise ValueError(f"expected a number such as 2 or 2(x3), got `{part}`")
        counts += [int(match[1])] * int(match[2] or 1)
    return tuple(counts)
