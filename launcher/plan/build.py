"""From a resolved cluster and a program to the plan. Pure: the same request gives the same plan."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from launcher import units
from launcher.engines import BackendRequest, commands
from launcher.errors import ConfigError
from launcher.nodes.source import SOURCES
from launcher.plan import environment
from launcher.specs import (
    CheckpointPolicy,
    Cluster,
    CodeSnapshot,
    Node,
    Plan,
    Program,
    Rendezvous,
    StageItem,
)

_FIRST_PORT = 20_000
_PORTS = 10_000  # ends at 29,999: below the ephemeral range of Linux (32,768 to 60,999)


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """Everything that a plan depends on."""

    run_id: str
    attempt: int
    storage_root: str
    cluster: Cluster
    backend: str
    program: Program
    python: str
    cwd: str
    checkpoint: CheckpointPolicy
    stage: tuple[StageItem, ...] = ()
    port: int | None = None
    """Rendezvous port that the user pinned; None derives one from the run."""
    port_try: int = 0
    """How many derived ports were busy so far."""
    grace_s: float = 60.0
    """Seconds that a rank gets between the stop request and SIGKILL."""
    logical_shards: int | None = None
    """Number of parts of every global batch; None: one for each rank."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Extra variables for the ranks."""
    exported: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment of the launcher, whose values win over our defaults."""
    code: CodeSnapshot | None = None
    """The code snapshot that contains `program`."""
    notes: tuple[str, ...] = ()
    """Earlier choices, to be shown with those made here."""


def build(request: PlanRequest) -> Plan:
    """Build the plan of one attempt.

    Raises:
        ConfigError: the backend cannot do this on the cluster, or there are more ranks than shards.
    """
    cluster = request.cluster
    _check_shards(request)
    rendezvous = _rendezvous(request)
    variables = environment.EnvironmentRequest(
        run_id=request.run_id,
        attempt=request.attempt,
        storage_root=request.storage_root,
        cluster=cluster,
        backend=request.backend,
        recipe=request.program.recipe,
        grace_s=request.grace_s,
        staged=bool(request.stage),
        logical_shards=request.logical_shards,
        extra=request.env,
        exported=request.exported,
    )
    return Plan(
        run_id=request.run_id,
        attempt=request.attempt,
        recipe=request.program.recipe,
        storage_root=request.storage_root,
        cluster=cluster,
        backend=request.backend,
        transport=SOURCES[cluster.source].transport,
        python=request.python,
        device=environment.device(cluster),
        program=request.program,
        code=request.code,
        rendezvous=rendezvous,
        stage=request.stage,
        checkpoint=request.checkpoint,
        commands=commands(
            request.backend,
            BackendRequest(
                run_id=request.run_id,
                cluster=cluster,
                program=request.program,
                rendezvous=rendezvous,
                python=request.python,
                cwd=request.cwd,
                env=environment.of_nodes(variables),
                exported=request.exported,
            ),
        ),
        notes=(
            *request.notes,
            *cluster.notes,
            *_notes(cluster),
            *_shard_notes(request),
            *environment.notes(variables),
        ),
    )


def port(run_id: str, attempt: int, port_try: int) -> int:
    """Return a port derived from the run, below the ephemeral ports of Linux."""
    seed = f"{run_id}/{attempt}/{port_try}"
    return _FIRST_PORT + zlib.crc32(seed.encode()) % _PORTS


def _check_shards(request: PlanRequest) -> None:
    count, ranks = request.logical_shards, sum(node.slots for node in request.cluster.nodes)
    if count is not None and ranks > count:
        raise ConfigError(
            f"{ranks} ranks cannot share logical_shards={count}: some would have no work",
            hint=f"use at most {count} ranks in total; a new run may have more shards",
        )


def _rendezvous(request: PlanRequest) -> Rendezvous:
    # Rank 0 is there, and the agent that hosts the store: the head itself may take no ranks.
    meeting = next(node for node in request.cluster.nodes if node.slots)
    address = meeting.address
    if request.port is not None:
        return Rendezvous(address=address, port=request.port, pinned=True)
    derived = port(request.run_id, request.attempt, request.port_try)
    return Rendezvous(address=address, port=derived)


def _shard_notes(request: PlanRequest) -> tuple[str, ...]:
    if request.logical_shards is None or environment.device(request.cluster) == "cpu":
        return ()
    note = (
        "determinism=logical_shards is not verified on GPUs: many of their kernels add in no fixed "
        "order, so that losses may differ between two runs"
    )
    return (note,)


def _notes(cluster: Cluster) -> tuple[str, ...]:
    notes = []
    if environment.gpus_are_shared(cluster):
        notes.append(
            "there are fewer GPUs than ranks: ranks share devices and talk through gloo, "
            "because NCCL takes one rank per device"
        )
    idle = [node.name for node in cluster.nodes if not node.slots]
    if idle:
        notes.append(f"without ranks: {', '.join(idle)}")
    return (*notes, *oversubscription_notes(cluster))


# Oversubscription: nodes without GPUs that take more ranks than they have cores.
_NAMED = 3


def oversubscribed(cluster: Cluster, *, ranks_per_core: int = 1) -> tuple[Node, ...]:
    """Return the nodes that have more than `ranks_per_core` ranks for each core.

    A node whose number of cores is unknown is never one of them.
    """
    source = SOURCES[cluster.source]
    if not source.real:
        return ()
    return tuple(
        node
        for node in cluster.nodes
        if not node.gpus
        and node.slots > ranks_per_core * node.cpus
        and (source.knows_cores or node.cpus > 1)
    )


def oversubscription_notes(cluster: Cluster) -> tuple[str, ...]:
    """Return one sentence for all nodes with the same numbers of ranks and cores."""
    alike: dict[tuple[int, int], list[str]] = {}
    for node in oversubscribed(cluster):
        alike.setdefault((node.slots, node.cpus), []).append(node.name)
    return tuple(
        f"{ranks_on_cores(slots, cpus)} on {_names(names)}: they take turns, which makes nothing "
        "faster; slots= says how many there are"
        for (slots, cpus), names in alike.items()
    )


def ranks_on_cores(slots: int, cpus: int) -> str:
    """Return `8 ranks share 2 cores`."""
    return f"{slots} ranks share {units.count(cpus, 'core')}"


def _names(names: Iterable[str]) -> str:
    first, *others = names
    few = [first, *others[: _NAMED - 1]]
    more = len(others) + 1 - len(few)
    each = "each of " if others else ""
    return f"{each}{', '.join(few)}{f' and {more} more' if more else ''}"
