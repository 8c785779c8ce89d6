"""`backend=torchrun`: one agent per node, which forks the ranks with torchrun's variables.

The agent is ours, with torchrun's flags; see `docs/adr/0006-agent-forks-ranks.md`.
"""

from __future__ import annotations

from launcher.engines.table import BackendRequest
from launcher.specs import Command, Node


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return one agent per node that has slots; the first one hosts the rendezvous."""
    return agents(request)


def agents(request: BackendRequest, *flags: str) -> tuple[Command, ...]:
    """Return one agent per node that has slots, with additional `flags`."""
    nodes = tuple(node for node in request.cluster.nodes if node.slots)
    return tuple(
        request.command(node, _argv(request, node, (group_rank, len(nodes)), flags))
        for group_rank, node in enumerate(nodes)
    )


def _argv(
    request: BackendRequest, node: Node, group: tuple[int, int], flags: tuple[str, ...]
) -> tuple[str, ...]:
    rendezvous = request.rendezvous
    group_rank, nnodes = group
    return (
        request.python,
        "-m",
        "launcher.runtime.agent",
        *flags,
        "--nnodes",
        str(nnodes),
        "--node-rank",
        str(group_rank),
        "--nproc-per-node",
        str(node.slots),
        "--rdzv-endpoint",
        f"{rendezvous.address}:{rendezvous.port}",
        "--run-id",
        request.run_id,
        "--",
        *request.program.argv,
    )
