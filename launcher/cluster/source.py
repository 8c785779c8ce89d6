"""The extension point: a source reads where the machines are and returns them as candidates."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, cast

from launcher.cluster.candidate import Candidates
from launcher.cluster.choice import choose
from launcher.cluster.machine import Machine
from launcher.cluster.request import ClusterRequest
from launcher.errors import UnknownNameError
from launcher.specs import Cluster

SOURCES: Mapping[str, str] = MappingProxyType({"local": "launcher.cluster.local"})
"""Name of a source -> module with its `candidates`; imported when used."""


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
    source = cast(Source, importlib.import_module(SOURCES[request.source]))
    return source.candidates(request, machine or Machine.here(), environ)


def resolve(request: ClusterRequest, machine: Machine | None = None) -> Cluster:
    """Return the cluster that `request` asks for, without asking any machine how it is."""
    return choose(candidates(request, machine), None, request)
