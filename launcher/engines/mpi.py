"""`backend=mpi`: one mpirun for all ranks, started on the head.

Everything that differs between Open MPI 4, Open MPI 5 and MPICH travels as variables, each of which
the others ignore: so one argv serves all three, and planning needs not know which one is there.

On several machines (Open MPI only) every other node gets an agent of ours, which mpirun has start
its daemon there: so no node needs to log in to another one. See `launcher.runtime.rsh_agent`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from launcher.engines.table import BackendRequest
from launcher.errors import ConfigError
from launcher.specs import Command

FLAVOURS: Mapping[str, str] = MappingProxyType(
    {
        # Batch systems and containers run as root; Open MPI wants that said, version 5 by PRTE too.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_ALLOW_RUN_AS_ROOT": "1",
        "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        # The plan says how many ranks a machine takes, not the number of its cores.
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        # A rank bound to one core would keep its data loaders and OpenMP threads there.
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        # A waiting rank must not take the core from one that computes.
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
)
"""Settings that make all MPI launchers behave the same."""


_ACROSS: Mapping[str, str] = MappingProxyType(
    {
        # The hosts stand in the argv; what a batch system says of them is by other names.
        "OMPI_MCA_ras": "^slurm,tm,lsf,gridengine",
        "PRTE_MCA_ras": "^slurm,pbs,lsf,gridengine",
        "OMPI_MCA_plm": "rsh",
        "PRTE_MCA_plm": "ssh",
        # All daemons are started from the head: the agents elsewhere wait for just one.
        "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
        "PRTE_MCA_plm_ssh_no_tree_spawn": "1",
        "OMPI_MCA_orte_keep_fqdn_hostnames": "1",
        "PRTE_MCA_prte_keep_fqdn_hostnames": "1",
        # Ranks count through the nodes in the order of the plan.
        "OMPI_MCA_rmaps_base_mapping_policy": "slot",
        "PRTE_MCA_rmaps_default_mapping_policy": "slot:oversubscribe",
    }
)
"""What several machines need on top."""
_OF_RANKS = "OMPI_MCA_btl_tcp_if_include"
_OF_DAEMONS = ("OMPI_MCA_oob_tcp_if_include", "PRTE_MCA_prte_if_include")
"""By which interface ranks, and daemons, speak to each other."""


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return the one command that starts all ranks, and one for each other machine.

    Raises:
        ConfigError: one of several machines is known by an IPv6 address.
    """
    return under_mpirun(request, {})


def under_mpirun(request: BackendRequest, extra: Mapping[str, str]) -> tuple[Command, ...]:
    """Return the commands that run the program under one mpirun, with `extra` variables."""
    nodes = request.cluster.nodes
    if len({node.address for node in nodes}) > 1:
        return _on_several(request, extra)
    envs = [request.env[node.node_rank] for node in nodes]
    together = {"LAUNCHER_NODES": json.dumps(_differing(envs))}
    return (_mpirun(request, (), {**_shared(request), **extra, **together, **envs[0]}),)


def _on_several(request: BackendRequest, extra: Mapping[str, str]) -> tuple[Command, ...]:
    agent = f"{request.python} -m launcher.runtime.rsh_agent"
    shared = {
        **_shared(request),
        **_ACROSS,
        **_interfaces(request),
        "OMPI_MCA_plm_rsh_agent": agent,
        "PRTE_MCA_plm_ssh_agent": agent,
        **extra,
    }
    _refuse_ipv6(request)
    head, *others = request.cluster.nodes
    taking = [node for node in request.cluster.nodes if node.slots]
    hosts = ",".join(f"{node.address}:{node.slots}" for node in taking)
    return (
        _mpirun(request, ("--host", hosts), {**shared, **request.env[head.node_rank]}),
        *(
            Command(
                node_rank=node.node_rank,
                argv=(request.python, "-m", "launcher.runtime.mpi_node", node.address),
                env={**shared, **request.env[node.node_rank]},
                cwd=request.cwd,
            )
            for node in others
            if node.slots
        ),
    )


def _refuse_ipv6(request: BackendRequest) -> None:
    for node in request.cluster.nodes:
        if ":" in node.address:
            raise ConfigError(
                f"MPI cannot be told {node.name} by its IPv6 address {node.address}",
                hint="name the host by a name or an IPv4 address, or use backend=torchrun",
            )


def _shared(request: BackendRequest) -> dict[str, str]:
    return {
        **FLAVOURS,
        "MASTER_ADDR": request.rendezvous.address,
        "MASTER_PORT": str(request.rendezvous.port),
    }


def _mpirun(request: BackendRequest, hosts: tuple[str, ...], env: dict[str, str]) -> Command:
    launcher = ("mpirun", "-np", str(request.cluster.world_size), *hosts)
    guard = (request.python, "-m", "launcher.runtime.guard", "--")
    program = (request.program.path, *request.program.args)
    return Command(
        node_rank=request.cluster.head.node_rank,
        argv=(request.python, "-m", "launcher.runtime.mpirun", "--", *launcher, *guard, *program),
        env=env,
        cwd=request.cwd,
    )


def _interfaces(request: BackendRequest) -> dict[str, str]:
    """MPI's own messages, and those between its daemons, take the way that gloo's take.

    mpirun gives its variables to all nodes. Where interfaces have other names each rank is told its
    own, as the last word before it starts MPI, and the daemons find each other by themselves.
    """
    names = [node.interface for node in request.cluster.nodes]
    chosen_by_user = any(_OF_RANKS in env for env in request.env.values())
    if chosen_by_user or not all(names):
        return {}
    if len(set(names)) > 1:
        return {"LAUNCHER_NODES": json.dumps([{_OF_RANKS: name} for name in names])}
    return dict.fromkeys((_OF_RANKS, *_OF_DAEMONS), names[0])


def _differing(envs: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return what differs between the nodes: the ranks pick theirs by their place."""
    names = set().union(*envs)
    differing = sorted(name for name in names if len({env.get(name) for env in envs}) > 1)
    return [{name: env.get(name, "") for name in differing} for env in envs]
