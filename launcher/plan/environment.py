"""The variables that every command carries, on top of the inherited environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from launcher.specs import Cluster, Node, RunLayout
from launcher.specs.cluster import write_counts

OFFLINE: Mapping[str, str] = {
    # Everything was staged before the ranks start: a rank that reaches for a hub would race with
    # its peers for one cache, and would make the run depend on the network.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
}

_ALWAYS: Mapping[str, str] = {
    # Threads that wait must sleep: ranks that share cores would take them from each other.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",
}


@dataclass(frozen=True, kw_only=True)
class EnvironmentRequest:
    """What the variables of a node depend on."""

    run_id: str
    attempt: int
    storage_root: str
    cluster: Cluster
    backend: str
    recipe: str
    grace_s: float
    staged: bool
    logical_shards: int | None = None
    """None: every rank is a shard of its own."""
    extra: Mapping[str, str] = field(default_factory=dict)


def device(cluster: Cluster) -> str:
    """Return `cuda` when the nodes were given GPUs, else `cpu`."""
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
    """Return the variables of each node's command; what the user set wins over what we choose."""
    cluster = request.cluster
    shared = {
        **_identity(request),
        **_ALWAYS,
        **_sharing(cluster),
        **_determinism(request.logical_shards),
        **(OFFLINE if request.staged else {}),
    }
    interfaces = _interfaces(cluster)
    return {
        node.node_rank: {**shared, **_of_node(node), **interfaces(node), **request.extra}
        for node in cluster.nodes
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
        # Ranks that each take all cores fight for them; measured 0.09 against 0.40 steps/s with
        # four BERT ranks on two cores.
        "OMP_NUM_THREADS": str(max(1, node.cpus // max(1, node.slots))),
        "CUDA_VISIBLE_DEVICES": ",".join(node.gpus),
    }


def _interfaces(cluster: Cluster) -> Callable[[Node], dict[str, str]]:
    """Return what tells a node by which interface it reaches the others.

    Gloo otherwise binds what the host name resolves to, which may be no address at all. Names of
    interfaces may differ between nodes. Gloo takes one name; NCCL takes it for the beginning of
    names, unless there is a `=` before it.
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
