"""`cluster=slurm`: the nodes of the allocation that the launcher runs in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from launcher.cluster import selection
from launcher.cluster.allocation import AllocatedNode, Allocation, read
from launcher.cluster.candidate import Candidate, Candidates
from launcher.cluster.machine import Machine
from launcher.cluster.ranges import listing
from launcher.cluster.request import ClusterRequest
from launcher.specs import Node


def candidates(request: ClusterRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
    """Return the nodes of the allocation in Slurm's order, all of its parts after each other."""
    allocation = read(environ)
    hosts = [
        _candidate(place, node, allocation.visible_gpus)
        for place, node in enumerate(allocation.nodes)
    ]
    return Candidates(
        source="slurm",
        hosts=selection.select(hosts, _spares(request, hosts), request),
        notes=tuple(_notes(allocation, request)),
    )


def _candidate(place: int, node: AllocatedNode, visible: tuple[str, ...]) -> Candidate:
    own = visible if place == 0 and len(visible) == node.gpus else ()
    return Candidate(
        cpu_slots=node.tasks,
        node=Node(
            node_rank=place,
            name=node.name,
            address=node.name,
            slots=0,
            cpus=node.cpus,
            gpus=own or tuple(str(index) for index in range(node.gpus)),
        ),
    )


def _spares(request: ClusterRequest, hosts: Iterable[Candidate]) -> list[Candidate]:
    by_name = {host.name: host for host in hosts}
    return [by_name[name] for name in selection.match("cluster.spares", request.spares, by_name)]


def _notes(allocation: Allocation, request: ClusterRequest) -> Iterable[str]:
    if request.slots is not None:
        return
    tasks = [node.tasks for node in allocation.nodes]
    gpus = [node.gpus for node in allocation.nodes]
    if request.device != "cpu" and any(gpus):
        if max(tasks) > 1 and tasks != gpus:
            yield (
                f"one rank for each GPU of a node, not the tasks of {allocation.tasks_from}; "
                "slots=N says otherwise"
            )
    elif max(tasks) > 1:
        shown = listing([str(count) for count in tasks])
        yield f"ranks per node from {allocation.tasks_from}: {shown}; slots=N says otherwise"
    if len(set(tasks)) > 1 and allocation.tasks_from == "SLURM_TASKS_PER_NODE" and not any(gpus):
        yield "Slurm fills one node after the other; --ntasks-per-node=N gives all the same number"
