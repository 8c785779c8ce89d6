"""`backend=elastic`: PyTorch's own torchrun starts the ranks of a node."""

from __future__ import annotations

from launcher.engines import BackendRequest
from launcher.engines.table import Backend
from launcher.specs import Command, Node

BACKEND = Backend(name="elastic", commands="launcher_example.elastic:commands")


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return one torchrun per node that has slots. Every rank runs through `launcher.runtime`."""
    nodes = [node for node in request.cluster.nodes if node.slots]
    return tuple(
        request.command(node, _argv(request, node, group_rank, len(nodes)))
        for group_rank, node in enumerate(nodes)
    )


def _argv(request: BackendRequest, node: Node, group_rank: int, nnodes: int) -> tuple[str, ...]:
    return (
        *(request.python, "-m", "torch.distributed.run", "--max-restarts=0"),
        *(f"--nnodes={nnodes}", f"--node-rank={group_rank}", f"--nproc-per-node={node.slots}"),
        *(f"--master-addr={request.rendezvous.address}",),
        *(f"--master-port={request.rendezvous.port}",),
        *("--no-python", request.python, "-m", "launcher.runtime", "--"),
        *(request.program.path, *request.program.args),
    )
