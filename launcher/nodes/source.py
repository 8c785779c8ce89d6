"""The extension point: a source reads where the machines are and returns them as candidates."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, cast

from launcher.errors import ConfigError, UnknownNameError
from launcher.nodes.candidate import Candidates, ClusterRequest
from launcher.nodes.choose import choose
from launcher.nodes.local import Machine
from launcher.specs import Cluster

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "hostfile": "launcher.nodes.hostfile",
        "local": "launcher.nodes.local",
        "sim": "launcher.nodes.sim",
        "slurm": "launcher.nodes.slurm",
    }
)
"""Name of a source -> module with its `candidates`; imported when used."""

_SELECTION = ("include", "exclude", "head", "spares")
_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"hostfile": ("hostfile", "hosts", *_SELECTION), "slurm": _SELECTION}
)
"""Keys about hosts that a source reads; what it would not read is refused."""


class Source(Protocol):
    """A module with one function, because a source has no state between two calls.

    It says which machines there are, not which of them are used: that also depends on how they
    are, which only somebody who reaches them can ask.
    """

    def candidates(
        self, request: ClusterRequest, machine: Machine, environ: Mapping[str, str]
    ) -> Candidates:
        """Return all machines in the order of preference, each under a name of its own.

        Raises:
            ConfigError: the request cannot be met by any cluster of this kind.
            PreflightError: it can in principle, but not with the machines at hand.
        """
        ...


def candidates(
    request: ClusterRequest,
    machine: Machine | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Candidates:
    """Return the candidates of the source that `request` names."""
    if request.source not in SOURCES:
        raise UnknownNameError("cluster", request.source, SOURCES)
    _refuse_unread_keys(request)
    source = cast(Source, importlib.import_module(SOURCES[request.source]))
    return source.candidates(request, machine or Machine.here(), environ)


def resolve(request: ClusterRequest, machine: Machine | None = None) -> Cluster:
    """Return the cluster that `request` asks for, without asking any machine how it is."""
    return choose(candidates(request, machine), None, request)


def require_real(source: str) -> None:
    """Refuse a source whose nodes only pretend to be there.

    Raises:
        ConfigError: nothing can be started on it.
    """
    if source == "sim":
        raise ConfigError(
            "cluster=sim only pretends to have nodes: nothing can be started on them",
            hint="`python -m launcher plan cluster=sim ...` shows what would run; "
            "several nodes on this machine are cluster=local",
        )


def _refuse_unread_keys(request: ClusterRequest) -> None:
    for key in ("hostfile", "hosts", *_SELECTION):
        if getattr(request, key) and key not in _KEYS.get(request.source, ()):
            readers = [name for name in _KEYS if key in _KEYS[name]]
            raise ConfigError(
                f"cluster={request.source} knows no cluster.{key}",
                hint=f"add {' or '.join(f'cluster={name}' for name in readers)}, "
                f"or leave cluster.{key} away",
            )
