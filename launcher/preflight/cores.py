"""Whether the cores of a node can carry its ranks at all."""

from __future__ import annotations

import os

from launcher.nodes.source import SOURCES
from launcher.plan import oversubscribed, ranks_on_cores
from launcher.preflight.check import Subject, Trouble
from launcher.specs import Cluster

_MOST_PER_CORE = 64
"""Fewer are slow, which is the person's choice; more never get as far as their first step."""


def enough(subject: Subject) -> Trouble | None:
    """Refuse a number of ranks that can only be a slip."""
    found = _too_many(subject.plan.cluster)
    if found is None:
        return None
    return Trouble(
        what=f"{found}: more than {_MOST_PER_CORE} for each core",
        hint="give fewer, `slots=` on each node or `nodes=`; "
        "`launcher plan cluster=sim` shows a large run without starting it",
    )


def _too_many(cluster: Cluster) -> str | None:
    if SOURCES[cluster.source].one_machine:
        ranks, cpus = cluster.world_size, len(os.sched_getaffinity(0))
        on_cpu = not any(node.gpus for node in cluster.nodes)
        crowd = on_cpu and ranks > _MOST_PER_CORE * cpus
        return f"{ranks_on_cores(ranks, cpus)} of this machine" if crowd else None
    worst = max(
        oversubscribed(cluster, ranks_per_core=_MOST_PER_CORE),
        key=lambda node: node.slots,
        default=None,
    )
    return f"{ranks_on_cores(worst.slots, worst.cpus)} on {worst.name}" if worst else None
