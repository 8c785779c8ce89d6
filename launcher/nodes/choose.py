"""From candidates to the cluster: the first healthy ones, with their ranks dealt out. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace

from launcher.errors import ConfigError, PreflightError
from launcher.nodes.candidate import Candidate, Candidates, Condition, NodesRequest
from launcher.nodes.selection import listing
from launcher.specs import Cluster, Node

Pair = tuple[Candidate, Condition]


def choose(
    candidates: Candidates,
    conditions: Mapping[str, Condition] | None,
    request: NodesRequest,
    *,
    at_least: int | None = None,
) -> Cluster:
    """Return the cluster of the first healthy candidates, the head first.

    `conditions` tells by name how each candidate is; None when nobody asked: then all count as
    healthy and their names are their addresses. A first start needs all nodes that `request` asks
    for; a restart after a loss gives `at_least` and takes what is left.

    Raises:
        ConfigError: the request cannot be met, whatever state the machines are in.
        PreflightError: too few are healthy, or they lack what the run needs; all are named.
    """
    wanted = request.nodes or sum(not host.spare for host in candidates.hosts)
    _require_enough_hosts(candidates, wanted, request)
    _require_fewer_at_least(wanted, request)
    pairs = [(host, _condition(host, conditions)) for host in candidates.hosts]
    fit = [pair for pair in pairs if pair[1].healthy]
    unfit = [pair for pair in pairs if not pair[1].healthy]
    if len(fit) < (wanted if at_least is None else at_least):
        raise _too_few(fit, unfit, wanted, at_least)
    _require_head(unfit, request, at_least)
    chosen = fit[:wanted]
    device = _device(chosen, request, asked=conditions is not None or candidates.complete)
    nodes = tuple(_node(rank, *pair, request, device) for rank, pair in enumerate(chosen))
    _require_ranks(nodes)
    _require_addresses(nodes)
    return Cluster(
        source=candidates.source,
        nodes=nodes,
        notes=candidates.notes + _notes(chosen, fit[wanted:], unfit, wanted),
    )


def _condition(host: Candidate, conditions: Mapping[str, Condition] | None) -> Condition:
    if conditions is None:
        node = host.node
        return Condition(
            healthy=True,
            cpus=node.cpus,
            gpus=node.gpus,
            has_cuda=bool(node.gpus),
            address=node.address,
            interface=node.interface,
        )
    return conditions.get(host.name) or Condition(healthy=False, reason="nobody asked it")


def _require_enough_hosts(candidates: Candidates, wanted: int, request: NodesRequest) -> None:
    if not candidates.hosts:
        raise ConfigError(
            f"cluster={request.cluster.name} has no host at all",
            hint="name hosts, or take less away with cluster.include and cluster.exclude",
        )
    if wanted > len(candidates.hosts):
        raise ConfigError(
            f"nodes={wanted}, but cluster={request.cluster.name} has {len(candidates.hosts)}: "
            + listing([host.name for host in candidates.hosts]),
            hint=f"nodes={len(candidates.hosts)}, or leave `nodes` away to take all",
        )


def _require_fewer_at_least(wanted: int, request: NodesRequest) -> None:
    min_nodes = request.cluster.min_nodes
    if min_nodes > wanted:
        raise ConfigError(
            f"cluster.min_nodes={min_nodes}, but the run has {wanted} nodes from the start",
            hint="it says with how few nodes a run may go on after a loss",
        )


def _too_few(
    fit: Sequence[Pair], unfit: Sequence[Pair], wanted: int, at_least: int | None
) -> PreflightError:
    asked = f"nodes={wanted}" if at_least is None else f"cluster.min_nodes={at_least}"
    have = f"{len(fit)} of {len(fit) + len(unfit)} hosts can be used, {asked} were asked for"
    return PreflightError(
        have,
        context="\n".join(f"{host.name}: {condition.reason}" for host, condition in unfit),
        hint="mend these hosts, add others as cluster.spares, or ask for fewer nodes",
    )


def _require_head(unfit: Sequence[Pair], request: NodesRequest, at_least: int | None) -> None:
    """A head that was asked for by name is not silently another one; after a loss it may be."""
    for host, condition in unfit:
        if host.name == request.cluster.head and at_least is None:
            raise PreflightError(
                f"cluster.head={host.name} cannot be used: {condition.reason}",
                hint="mend this host, or name another head",
            )


def _device(chosen: Sequence[Pair], request: NodesRequest, *, asked: bool) -> str:
    """Return `cpu` or `cuda`, one for all: ranks on different devices cannot talk."""
    if request.device == "cpu":
        return "cpu"
    takers = [pair for pair in chosen if pair[0].slots != 0]
    without = [host.name for host, condition in takers if not condition.gpus]
    cpu_builds = [host.name for host, condition in takers if not condition.has_cuda]
    if request.device == "cuda":
        if asked:
            _require_cuda(without, cpu_builds)
        return "cuda"
    lacking = {*without, *cpu_builds}
    if not lacking:
        return "cuda"
    if len(lacking) < len(takers):
        names = [host.name for host, _ in takers if host.name in lacking]
        raise PreflightError(
            f"device=auto: some nodes have GPUs and a CUDA torch, but not {listing(names)}",
            hint="leave these out with cluster.exclude, or take device=cpu on all",
        )
    return "cpu"


def _require_cuda(without: Sequence[str], cpu_builds: Sequence[str]) -> None:
    if without:
        raise PreflightError(
            f"device=cuda, but there is no GPU on {listing(without)}",
            hint="use device=cpu, leave these nodes out with cluster.exclude, "
            "or check `nvidia-smi` and CUDA_VISIBLE_DEVICES there",
        )
    if cpu_builds:
        raise PreflightError(
            f"device=cuda, but torch is a CPU build on {listing(cpu_builds)}",
            hint="install a CUDA build of torch there, or use device=cpu",
        )


def _node(
    node_rank: int, host: Candidate, condition: Condition, request: NodesRequest, device: str
) -> Node:
    gpus = condition.gpus if device == "cuda" else ()
    slots = _slots(host, len(gpus), request)
    if device == "cuda" and not gpus:  # nobody asked which there are
        gpus = tuple(str(index) for index in range(slots))
    return replace(
        host.node,
        node_rank=node_rank,
        slots=slots,
        gpus=gpus[:slots],
        cpus=condition.cpus,
        address=condition.address or host.node.address or host.name,
        interface=condition.interface or host.node.interface,
    )


def _slots(host: Candidate, gpus: int, request: NodesRequest) -> int:
    """The command line wins over the source, but a host that takes no ranks stays without."""
    if host.slots == 0:
        return 0
    most = host.max_slots
    stated = request.slots or host.slots
    if stated is None:
        slots = gpus or host.cpu_slots
        return slots if most is None else min(slots, most)
    if most is not None and stated > most:
        raise ConfigError(
            f"{stated} ranks on {host.name}, which takes at most {most}",
            hint=f"slots={most}, or raise max_slots of {host.name}",
        )
    return stated


def _require_ranks(nodes: Sequence[Node]) -> None:
    if not any(node.slots for node in nodes):
        raise ConfigError(
            f"no node takes a rank: slots=0 on {listing([node.name for node in nodes])}",
            hint="ask for more nodes, or give one of them slots",
        )


def _require_addresses(nodes: Sequence[Node]) -> None:
    """Each node is a machine that the others reach, unless all are on this one."""
    looping = [node for node in nodes if _is_loopback(node.address)]
    if looping and len(looping) < len(nodes):
        raise PreflightError(
            f"{looping[0].name} has the address {looping[0].address}, "
            "which the other nodes cannot reach",
            hint="name it as the others know it, and not localhost",
        )
    by_address: dict[str, Node] = {}
    for node in nodes:
        first = by_address.setdefault(node.address, node)
        if first is not node and not looping:
            raise PreflightError(
                f"{first.name} and {node.name} are one machine, {node.address}",
                hint="name it once; the slots of a host that is named twice add up",
            )


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _notes(
    chosen: Sequence[Pair], unused: Sequence[Pair], unfit: Sequence[Pair], wanted: int
) -> tuple[str, ...]:
    notes = [f"{host.name} is left out: {condition.reason}" for host, condition in unfit]
    spares = [host.name for host, _ in chosen if host.spare]
    if spares:
        notes.append(f"spares in use: {listing(spares)}")
    rest = [host.name for host, _ in unused if not host.spare]
    if rest:
        notes.append(f"nodes={wanted}: not used are {listing(rest)}")
    if len(chosen) < wanted:
        notes.append(f"going on with {len(chosen)} of {wanted} nodes")
    return tuple(notes)
