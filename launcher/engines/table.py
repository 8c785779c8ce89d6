"""The extension point: a backend says which argv has to run on which node."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, cast

from launcher.errors import UnknownNameError
from launcher.specs import Cluster, Command, Node, Program, Rendezvous

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "horovod": "launcher.engines.horovod",
        "horovod_mpi": "launcher.engines.horovod_mpi",
        "mpi": "launcher.engines.mpi",
        "torchrun": "launcher.engines.torchrun",
    }
)
"""Name of a backend -> module with its `commands`; imported when used."""


@dataclass(frozen=True, kw_only=True)
class BackendRequest:
    """All that a backend may know."""

    run_id: str
    cluster: Cluster
    program: Program
    rendezvous: Rendezvous
    python: str
    """Interpreter that runs on the nodes."""
    cwd: str
    env: Mapping[int, Mapping[str, str]]
    """Variables of each node, by node rank."""

    def command(self, node: Node, argv: tuple[str, ...]) -> Command:
        return Command(
            node_rank=node.node_rank, argv=argv, env=dict(self.env[node.node_rank]), cwd=self.cwd
        )


class Backend(Protocol):
    """A module with one pure function: what it returns is all that will ever be started."""

    def commands(self, request: BackendRequest) -> tuple[Command, ...]:
        """Return the commands, in the order in which they are to be started.

        Raises:
            ConfigError: this backend cannot do what the cluster asks; it names the node.
        """
        ...


def commands(backend: str, request: BackendRequest) -> tuple[Command, ...]:
    """Return the commands of `backend` for `request`."""
    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    module = cast(Backend, importlib.import_module(BACKENDS[backend]))
    return module.commands(request)
