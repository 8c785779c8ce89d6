"""The extension point: a source reads where the nodes are and returns them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, cast

from launcher.cluster.machine import Machine
from launcher.errors import UnknownNameError
from launcher.specs import Cluster

SOURCES: Mapping[str, str] = MappingProxyType({"local": "launcher.cluster.local"})
"""Name of a source -> module with its `resolve`; imported when used."""


@dataclass(frozen=True, kw_only=True)
class ClusterRequest:
    """What the user asks of the cluster."""

    source: str
    nodes: int
    slots: int | None = None
    """Ranks per node; None lets the source decide."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""


class Source(Protocol):
    """A module with one function, because a source has no state between two calls."""

    def resolve(self, request: ClusterRequest, machine: Machine) -> Cluster:
        """Return the nodes, head first.

        Raises:
            ConfigError: the request cannot be met by any cluster of this kind.
            PreflightError: it can in principle, but not with the machines at hand.
        """
        ...


def resolve(request: ClusterRequest, machine: Machine | None = None) -> Cluster:
    """Resolve `request` through the source it names."""
    if request.source not in SOURCES:
        raise UnknownNameError("cluster", request.source, SOURCES)
    source = cast(Source, importlib.import_module(SOURCES[request.source]))
    return source.resolve(request, machine or Machine.here())
