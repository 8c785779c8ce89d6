"""The cluster: which nodes, how many ranks on each, and which rank stands where."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of a run (or one share of a machine, when several nodes are local)."""

    node_rank: int
    """0 is the head; every other node is a worker."""
    name: str
    """What people call it: a host name, or `local0`, `local1` ... on one machine."""
    address: str
    """Where the other nodes reach it."""
    interface: str = ""
    """Network interface that has this address, `eth0`; empty when nobody asked the node."""
    ssh: str = ""
    """Destination for ssh, `alice@gpu1` or a name of the user's ssh configuration; empty when the
    node is not reached by ssh."""
    ssh_port: int = 0
    """Port for ssh; 0 leaves it to the user's ssh configuration."""
    slots: int
    """How many ranks it takes; 0 means it coordinates and trains nothing."""
    gpus: tuple[str, ...] = ()
    """Devices its ranks share out, as `CUDA_VISIBLE_DEVICES` writes them; empty on a CPU run."""
    cpus: int = 1
    """CPU cores that its ranks share."""

    @property
    def role(self) -> str:
        return "head" if self.node_rank == 0 else "worker"


@dataclass(frozen=True, kw_only=True)
class RankPlace:
    """Where one rank runs."""

    rank: int
    local_rank: int
    node: Node


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The nodes of one attempt, head first."""

    nodes: tuple[Node, ...]
    source: str
    """Which source named the nodes: `local`, `hostfile`, `slurm`."""
    notes: tuple[str, ...] = ()
    """Choices that were made for the user, each with its reason, to be shown with the plan."""

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def world_size(self) -> int:
        return sum(node.slots for node in self.nodes)

    def places(self) -> tuple[RankPlace, ...]:
        """Every rank in order: ranks are dealt out node by node, as all engines do."""
        slots = [(node, local) for node in self.nodes for local in range(node.slots)]
        return tuple(
            RankPlace(rank=rank, local_rank=local, node=node)
            for rank, (node, local) in enumerate(slots)
        )


# One number per node in the short form that Slurm uses, too: `2(x3),1` is 2, 2, 2, 1.
_RUN = re.compile(r"\s*([0-9]+)(?:\(x([0-9]+)\))?\s*")


def write_counts(counts: Iterable[int]) -> str:
    """Return the numbers in the short form."""
    runs = ((count, sum(1 for _ in run)) for count, run in itertools.groupby(counts))
    return ",".join(str(count) if times == 1 else f"{count}(x{times})" for count, times in runs)


def read_counts(text: str) -> tuple[int, ...]:
    """Return the numbers that `text` stands for; none for an empty one.

    Raises:
        ValueError: it has another form.
    """
    counts: list[int] = []
    for part in text.split(",") if text else ():
        run = _RUN.fullmatch(part)
        if run is None:
            raise ValueError(f"`{part}` is no number such as 2 or 2(x3)")
        counts += [int(run.group(1))] * int(run.group(2) or 1)
    return tuple(counts)
