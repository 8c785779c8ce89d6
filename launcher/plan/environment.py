"""The variables of every command, on top of the inherited environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from launcher.specs import Cluster, Node, RunLayout
from launcher.specs.cluster import write_counts

OFFLINE: Mapping[str, str] = {
    # All data was staged before the ranks start. A rank that contacts a hub would race with its
    # peers for one cache, and the run would depend on the network.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
}

_ALWAYS: Mapping[str, str] = {
    # Waiting threads must sleep: ranks may share cores.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",
}


@dataclass(frozen=True, kw_only=True)
class EnvironmentRequest:
    """Input of `of_nodes`."""

    run_id: str
    attempt: int
    storage_root: str
    cluster: Cluster
    backend: str
    recipe: str
    grace_s: float
    staged: bool
    logical_shards: int | None = None
    """None: each rank is one shard."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Set in the configuration: wins over everything else."""
    exported: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment of the launcher: wins over our defaults, not over what a plan decides."""


def device(cluster: Cluster) -> str:
    """Return `cuda` if any node has GPUs, else `cpu`."""
    return "cuda" if any(node.gpus for node in cluster.nodes) else "cpu"


def gpus_are_shared(cluster: Cluster) -> bool:
    """Tell whether two ranks of one machine use the same device."""
    per_machine: dict[str, list[str]] = {}
    for node in cluster.nodes:
        if node.gpus and node.slots > len(node.gpus):
            return True
        per_machine.setdefault(node.address, []).extend(node.gpus)
    return any(len(gpus) != len(set(gpus)) for gpus in per_machine.values())


def of_nodes(request: EnvironmentRequest) -> dict[int, dict[str, str]]:
    """Return the variables for each node's command. Those that the user set win over ours."""
    cluster = request.cluster
    shared = {
        **_identity(request),
        **_sharing(cluster),
        **_determinism(request.logical_shards),
    }
    defaults = _defaults(request)
    return {
        node.node_rank: {
            **shared,
            **_of_node(node),
            **defaults[node.node_rank],
            # In the plan, so that they reach every node: a login there may set others.
            **{
                name: request.exported[name]
                for name in defaults[node.node_rank]
                if name in request.exported
            },
            **request.extra,
        }
        for node in cluster.nodes
    }


def notes(request: EnvironmentRequest) -> tuple[str, ...]:
    """Return a note for each variable of the user that replaces another value of ours."""
    ours: dict[str, dict[str, None]] = {}
    for defaults in _defaults(request).values():
        for name, value in defaults.items():
            ours.setdefault(name, {})[value] = None
    return tuple(
        f"{name}={request.exported[name]} (yours; the launcher would set {' or '.join(values)})"
        for name, values in sorted(ours.items())
        if name in request.exported and name not in request.extra
        if list(values) != [request.exported[name]]
    )


def _defaults(request: EnvironmentRequest) -> dict[int, dict[str, str]]:
    """Return the variables of each node that we set only if the user did not."""
    offline = OFFLINE if request.staged else {}
    interfaces = _interfaces(request.cluster)
    return {
        node.node_rank: {**_ALWAYS, **offline, **_threads(node), **interfaces(node)}
        for node in request.cluster.nodes
    }


def _identity(request: EnvironmentRequest) -> dict[str, str]:
    return {
        "LAUNCHER_RUN_ID": request.run_id,
        "LAUNCHER_RUN_DIR": str(RunLayout.of(request.storage_root, request.run_id).path),
        "LAUNCHER_ATTEMPT": str(request.attempt),
        "LAUNCHER_BACKEND": request.backend,
        "LAUNCHER_DEVICE": device(request.cluster),
        "LAUNCHER_SLOTS": write_counts(node.slots for node in request.cluster.nodes),
        "LAUNCHER_RECIPE": request.recipe,
        "LAUNCHER_GRACE_S": f"{request.grace_s:g}",
    }


def _sharing(cluster: Cluster) -> dict[str, str]:
    return {"LAUNCHER_GPU_SHARED": "1"} if gpus_are_shared(cluster) else {}


def _determinism(logical_shards: int | None) -> dict[str, str]:
    return {} if logical_shards is None else {"LAUNCHER_LOGICAL_SHARDS": str(logical_shards)}


def _of_node(node: Node) -> dict[str, str]:
    return {
        "LAUNCHER_NODE_RANK": str(node.node_rank),
        "LAUNCHER_NODE_NAME": node.name,
        # Not a default: the nodes offered the GPUs that the plan gives to ranks.
        "CUDA_VISIBLE_DEVICES": ",".join(node.gpus),
    }


def _threads(node: Node) -> dict[str, str]:
    return {
        # Ranks that each use all cores slow each other down: 0.09 instead of 0.40 steps/s with
        # four BERT ranks on two cores.
        "OMP_NUM_THREADS": str(max(1, node.cpus // max(1, node.slots))),
    }


def _interfaces(cluster: Cluster) -> Callable[[Node], dict[str, str]]:
    """Return a function that gives a node the variables for its network interface.

    Without them, Gloo binds to the address of the host name, which other nodes may not reach. The
    names of interfaces may differ between nodes. Gloo takes one name. NCCL takes it as a prefix,
    unless a `=` precedes it.
    """
    if all(node.address.startswith("127.") for node in cluster.nodes):
        return lambda _: {"GLOO_SOCKET_IFNAME": "lo"}
    cuda = device(cluster) == "cuda"

    def of_node(node: Node) -> dict[str, str]:
        if not node.interface:
            return {}
        nccl = {"NCCL_SOCKET_IFNAME": f"={node.interface}"} if cuda else {}
        return {"GLOO_SOCKET_IFNAME": node.interface, **nccl}

    return of_node
