"""The extension point: a source lists the machines that a run may use, as candidates."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from launcher.errors import ConfigError
from launcher.extensions import Table, load
from launcher.nodes.candidate import Candidates, NodesRequest
from launcher.nodes.local import Machine

_SELECTION = ("include", "exclude", "head", "spares")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One choice of `cluster=`, and everything that the rest of the launcher must know about it.

    A package adds a source with an entry point in the group `launcher.sources`.
    """

    name: str
    """What the user types: `cluster=NAME`."""
    candidates: str
    """`(NodesRequest, Machine, Mapping[str, str]) -> Candidates`, named by its import path,
    `module:function`: lists all machines in the order of preference, each with a unique name.

    A pure function of the request, this machine and the environment: a source connects to no
    machine. Which machines a run uses also depends on their health. Raises `ConfigError` if no
    cluster of this kind can satisfy the request, `PreflightError` if the machines at hand cannot.
    """
    transport: str
    """How commands reach its nodes."""
    reads: tuple[str, ...] = ()
    """Keys of `cluster.*` that it reads. The others that name hosts are refused."""
    real: bool = True
    """Whether its nodes exist; with False only `plan` works."""
    one_machine: bool = False
    """All its nodes are shares of this machine."""
    batch: bool = False
    """Outside of a job, `run` submits one to Slurm."""
    knows_cores: bool = True
    """It knows how many cores a node has. With False a node that was not asked counts as one core,
    which means nothing."""


SOURCES = Table(
    "cluster",
    (
        Source(
            name="local",
            candidates="launcher.nodes.local:candidates",
            transport="local",
            one_machine=True,
        ),
        Source(
            name="sim", candidates="launcher.nodes.local:simulated", transport="local", real=False
        ),
        Source(
            name="hostfile",
            candidates="launcher.nodes.hostfile:candidates",
            transport="ssh",
            reads=("hostfile", "hosts", *_SELECTION),
            knows_cores=False,
        ),
        Source(
            name="slurm",
            candidates="launcher.nodes.slurm:candidates",
            transport="srun",
            reads=_SELECTION,
            batch=True,
        ),
    ),
    row_type=Source,
)
"""Every source, by its name."""


def candidates(
    request: NodesRequest,
    machine: Machine | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Candidates:
    """Return the candidates of the source that `request` names."""
    source = SOURCES[request.cluster.name]
    _refuse_unread_keys(source, request)
    listed = cast(
        "Callable[[NodesRequest, Machine, Mapping[str, str]], Candidates]",
        load(source.candidates),
    )
    candidates = listed(request, machine or Machine.here(), environ)
    if not isinstance(candidates, Candidates):
        raise ConfigError(
            f"cluster={source.name}: `{source.candidates}` returned {candidates!r:.100}",
            context="expected launcher.nodes.Candidates",
            hint="fix or uninstall the package that provides this source",
        )
    return candidates


def require_real(name: str) -> None:
    """Refuse a source whose nodes do not exist.

    Raises:
        ConfigError: nothing can start on them.
    """
    if not SOURCES[name].real:
        raise ConfigError(
            f"the nodes of cluster={name} do not exist: nothing can start on them",
            hint=f"`python -m launcher plan cluster={name} ...` shows what would run; "
            "cluster=local starts several nodes on this machine",
        )


def _refuse_unread_keys(source: Source, request: NodesRequest) -> None:
    for key in ("hostfile", "hosts", *_SELECTION):
        if getattr(request.cluster, key) and key not in source.reads:
            readers = [row.name for row in SOURCES.built_in.values() if key in row.reads]
            raise ConfigError(
                f"cluster={source.name} does not read cluster.{key}",
                hint=f"use {' or '.join(f'cluster={name}' for name in readers)}, "
                f"or omit cluster.{key}",
            )
