"""`cluster=slurm`: the nodes of the allocation that the launcher runs in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from launcher.nodes import selection
from launcher.nodes.candidate import Candidate, Candidates, NodesRequest
from launcher.nodes.local import Machine
from launcher.nodes.selection import listing
from launcher.nodes.slurm_task import refuse_many_launchers
from launcher.specs import Node, slurm
from launcher.specs.cluster import read_counts


def candidates(request: NodesRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
    """Return the nodes of the allocation in the order of Slurm, part by part."""
    refuse_many_launchers(environ, machine.caller)
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


def _spares(request: NodesRequest, hosts: Iterable[Candidate]) -> list[Candidate]:
    by_name = {host.name: host for host in hosts}
    return [
        by_name[name] for name in selection.match("cluster.spares", request.cluster.spares, by_name)
    ]


def _notes(allocation: Allocation, request: NodesRequest) -> Iterable[str]:
    if request.slots is not None:
        return
    tasks = [node.tasks for node in allocation.nodes]
    gpus = [node.gpus for node in allocation.nodes]
    if request.device != "cpu" and any(gpus):
        if max(tasks) > 1 and tasks != gpus:
            yield (
                f"one rank for each GPU of a node, not the tasks of {allocation.tasks_from}; "
                "slots=N overrides it"
            )
    elif max(tasks) > 1:
        shown = listing([str(count) for count in tasks])
        yield f"ranks per node from {allocation.tasks_from}: {shown}; slots=N overrides it"
    if len(set(tasks)) > 1 and allocation.tasks_from == slurm.TASKS_PER_NODE and not any(gpus):
        yield "Slurm fills one node after the other; --ntasks-per-node=N gives all the same number"


# What the environment of a job says about its allocation. Pure.
@dataclass(frozen=True, kw_only=True)
class AllocatedNode:
    """One node of an allocation."""

    name: str
    """Name in Slurm: `SLURMD_NODENAME` on the node."""
    tasks: int
    """Tasks that Slurm starts on it; 1 if the job requests no number of tasks."""
    cpus: int
    gpus: int
    """GPUs of the job on it; 0 if Slurm does not say."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The nodes of a job in the order of Slurm, including all parts of a heterogeneous job."""

    job_id: str
    nodes: tuple[AllocatedNode, ...]
    tasks_from: str
    """The variable with the number of tasks; empty if the job requests none."""
    visible_gpus: tuple[str, ...] = ()
    """Devices of the job on this node, as `CUDA_VISIBLE_DEVICES` writes them."""


def read(environ: Mapping[str, str]) -> Allocation:
    """Return the allocation that the environment of a job describes.

    Raises:
        ConfigError: this is not a job, or its variables cannot be read.
    """
    slurm.require_allocation(environ)
    parts = [_Part(environ=environ, suffix=suffix) for suffix in slurm.part_suffixes(environ)]
    return Allocation(
        job_id=environ[slurm.JOB_ID],
        nodes=tuple(node for part in parts for node in part.nodes()),
        tasks_from=next((part.tasks_from for part in parts if part.tasks_from), ""),
        visible_gpus=_words(environ.get("CUDA_VISIBLE_DEVICES", "")),
    )


@dataclass(frozen=True, kw_only=True)
class _Part(slurm.JobPart):
    """One part of a heterogeneous job, or the whole of any other."""

    def nodes(self) -> Iterable[AllocatedNode]:
        names = self.hosts()
        tasks = self._tasks(len(names))
        cpus = self._counts(slurm.CPUS_PER_NODE, len(names))
        gpus = self._gpus()
        for name, task_count, cpu_count in zip(names, tasks, cpus, strict=True):
            yield AllocatedNode(name=name, tasks=max(1, task_count), cpus=cpu_count, gpus=gpus)

    @property
    def tasks_from(self) -> str:
        # Slurm always sets SLURM_TASKS_PER_NODE, but it counts only if the job requests tasks.
        if self.text(slurm.TASKS_ON_EACH_NODE):
            return slurm.TASKS_ON_EACH_NODE
        if not self.text(slurm.TASKS) or self._in_a_step_on_fewer_nodes():
            return ""
        return slurm.TASKS_PER_NODE

    def _in_a_step_on_fewer_nodes(self) -> bool:
        """A shell of `srun -N1 --pty` in a larger job: the tasks are those of the step."""
        in_step = slurm.STEP_HOSTS in self.environ
        return in_step and len(self._read(slurm.TASKS_PER_NODE)) != len(self.hosts())

    def _tasks(self, nodes: int) -> tuple[int, ...]:
        source = self.tasks_from
        if source == slurm.TASKS_ON_EACH_NODE:
            return self._read(source) * nodes
        return self._counts(source, nodes)

    def _counts(self, name: str, nodes: int) -> tuple[int, ...]:
        counts = self._read(name) if name else ()
        if counts and len(counts) != nodes:
            raise self.invalid(name, f"it describes {len(counts)} nodes, expected {nodes}")
        return counts or (1,) * nodes

    def _read(self, name: str) -> tuple[int, ...]:
        try:
            return read_counts(self.text(name))
        except ValueError as error:
            raise self.invalid(name, str(error)) from None

    def _gpus(self) -> int:
        """`8`, `h100:8` or `a100:2,v100:1` is how `--gpus-per-node` was given.

        Of a heterogeneous job Slurm says it only for the first part, where the job's script is.
        """
        if self.suffix == slurm.FIRST_PART:
            return replace(self, suffix="")._gpus()
        per_node = self.text(slurm.GPUS_PER_NODE)
        if per_node:
            tails = [part.rpartition(":")[2] for part in per_node.split(",")]
            return sum(int(tail) for tail in tails if tail.isdecimal())
        on_node = self.text(slurm.GPUS_ON_NODE)
        return int(on_node) if on_node.isdecimal() else len(_words(self.text(slurm.GPU_IDS)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
