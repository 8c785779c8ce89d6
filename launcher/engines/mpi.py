"""`backend=mpi`: one mpirun for all ranks, on the head.

What differs between Open MPI 4, Open MPI 5 and MPICH is set by variables that the others ignore. So
one command line works for all three, and the plan does not depend on which one is installed.

On several machines (Open MPI only) every other node runs an agent of ours, which starts the daemon
of MPI there: no node has to log in to another one. See `launcher.runtime.rsh_agent`.
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
        # Containers and some batch systems run as root, which Open MPI refuses by default.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_ALLOW_RUN_AS_ROOT": "1",
        "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        # The plan decides how many ranks a machine takes, not its number of cores.
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        # Data loaders and OpenMP threads of a rank that is bound to one core share that core.
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        # A waiting rank must not take CPU time from one that computes.
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
)
"""Settings that make all MPI launchers behave the same."""

_SEVERAL_MACHINES: Mapping[str, str] = MappingProxyType(
    {
        # The command line lists the hosts, under other names than the batch system.
        "OMPI_MCA_ras": "^slurm,tm,lsf,gridengine",
        "PRTE_MCA_ras": "^slurm,pbs,lsf,gridengine",
        "OMPI_MCA_plm": "rsh",
        "PRTE_MCA_plm": "ssh",
        # Each agent waits for one launch request, and all of them come from the head.
        "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
        "PRTE_MCA_plm_ssh_no_tree_spawn": "1",
        "OMPI_MCA_orte_keep_fqdn_hostnames": "1",
        "PRTE_MCA_prte_keep_fqdn_hostnames": "1",
        # Ranks are numbered in the order of the plan.
        "OMPI_MCA_rmaps_base_mapping_policy": "slot",
        "PRTE_MCA_rmaps_default_mapping_policy": "slot:oversubscribe",
    }
)
"""Additional settings for several machines."""
_OF_RANKS = "OMPI_MCA_btl_tcp_if_include"
_OF_DAEMONS = ("OMPI_MCA_oob_tcp_if_include", "PRTE_MCA_prte_if_include")
"""The network interfaces between ranks, and between daemons."""


def commands(request: BackendRequest) -> tuple[Command, ...]:
    """Return the mpirun that starts all ranks, and one agent for each other machine.

    Raises:
        ConfigError: one of several machines has an IPv6 address.
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
        **_SEVERAL_MACHINES,
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
                f"MPI does not accept the IPv6 address {node.address} of {node.name}",
                hint="use a host name or an IPv4 address, or backend=torchrun",
            )


def _shared(request: BackendRequest) -> dict[str, str]:
    return {
        **{name: request.exported.get(name, value) for name, value in FLAVOURS.items()},
        "MASTER_ADDR": request.rendezvous.address,
        "MASTER_PORT": str(request.rendezvous.port),
    }


def _mpirun(request: BackendRequest, hosts: tuple[str, ...], env: dict[str, str]) -> Command:
    launcher = ("mpirun", "-np", str(request.cluster.world_size), *hosts)
    guard = (request.python, "-m", "launcher.runtime.guard", "--", *request.program.argv)
    return Command(
        node_rank=request.cluster.head.node_rank,
        argv=(request.python, "-m", "launcher.runtime.mpirun", "--", *launcher, *guard),
        env=env,
        cwd=request.cwd,
    )


def _interfaces(request: BackendRequest) -> dict[str, str]:
    """Have MPI use the same network interface as gloo.

    mpirun gives the same variables to all nodes. If the interfaces have different names, each rank
    sets its own before it starts MPI, and the daemons find each other by themselves.
    """
    names = [node.interface for node in request.cluster.nodes]
    chosen_by_user = any(_OF_RANKS in env for env in (request.exported, *request.env.values()))
    if chosen_by_user or not all(names):
        return {}
    if len(set(names)) > 1:
        return {"LAUNCHER_NODES": json.dumps([{_OF_RANKS: name} for name in names])}
    return dict.fromkeys((_OF_RANKS, *_OF_DAEMONS), names[0])


def _differing(envs: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the variables that differ between the nodes; each rank uses those of its node."""
    names = set().union(*envs)
    differing = sorted(name for name in names if len({env.get(name) for env in envs}) > 1)
    return [{name: env.get(name, "") for name in differing} for env in envs]
