"""`backend=horovod`: Horovod with its Gloo controller, started by the agents of `torchrun`.

The head's agent runs Horovod's rendezvous server; see `docs/engines.md`.
"""

from __future__ import annotations

from launcher.engines import torchrun
from launcher.engines.table import BackendRequest
from launcher.errors import ConfigError
from launcher.specs import Command


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return one agent per node that has slots, the head first.

    Raises:
        ConfigError: a node was given GPUs.
    """
    refuse_gpus(request)
    return torchrun.agents(request, "--engine", "horovod")


def refuse_gpus(request: BackendRequest) -> None:
    """Raise where ranks would compute on GPUs: our build of Horovod moves host memory only."""
    for node in request.cluster.nodes:
        if node.gpus:
            raise ConfigError(
                f"Horovod trains on CPUs only here, but {node.name} was given GPUs",
                hint="device=cpu, or backend=torchrun",
            )
