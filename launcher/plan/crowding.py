"""Nodes without GPUs that take more ranks than they have cores."""

from __future__ import annotations

from collections.abc import Iterable

from launcher import units
from launcher.specs import Cluster, Node

_NAMED = 3


def crowded(cluster: Cluster, *, ranks_per_core: int = 1) -> tuple[Node, ...]:
    """Return the nodes whose cores each carry more than so many ranks.

    Nodes that do not exist have no cores, and a host that nobody asked counts as one core only.
    """
    if cluster.source == "sim":
        return ()
    return tuple(
        node
        for node in cluster.nodes
        if not node.gpus
        and node.slots > ranks_per_core * node.cpus
        and not (cluster.source == "hostfile" and node.cpus == 1)
    )


def notes(cluster: Cluster) -> tuple[str, ...]:
    """Return a sentence for each number of ranks that shares a number of cores."""
    alike: dict[tuple[int, int], list[str]] = {}
    for node in crowded(cluster):
        alike.setdefault((node.slots, node.cpus), []).append(node.name)
    return tuple(
        f"{shared(slots, cpus)} on {_names(names)}: they take turns, which makes nothing faster; "
        "slots= says how many there are"
        for (slots, cpus), names in alike.items()
    )


def shared(slots: int, cpus: int) -> str:
    """Return who shares what, in words."""
    return f"{slots} ranks share {units.count(cpus, 'core')}"


def _names(names: Iterable[str]) -> str:
    first, *others = names
    few = [first, *others[: _NAMED - 1]]
    more = len(others) + 1 - len(few)
    each = "each of " if others else ""
    return f"{each}{', '.join(few)}{f' and {more} more' if more else ''}"
