"""Find the nodes of an attempt: ask all candidates, judge them, and choose."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from launcher import transports
from launcher.disk import DiskProblem
from launcher.errors import PreflightError
from launcher.nodes import addresses
from launcher.nodes.addresses import Addresses, Mesh
from launcher.nodes.candidate import Candidates, Condition, NodesRequest
from launcher.nodes.choose import choose
from launcher.nodes.facts import LAUNCHER, PACKAGES, NodeFacts, NodeNeeds, ask
from launcher.nodes.health import OwnLauncher, judge
from launcher.nodes.source import SOURCES, candidates
from launcher.nodes.table import Cell, HealthRow, HealthTable, Mark
from launcher.specs import Cluster, Node
from launcher.transports import Transport
from launcher.transports.remote import node_probe

_MAX_LOOKUPS = 16


@dataclass(frozen=True, kw_only=True)
class NodeReport:
    """The answers of all candidates, judged."""

    nodes: tuple[NodeFacts, ...]
    addresses: Addresses
    table: HealthTable
    ports: Mapping[str, int] = field(default_factory=dict)
    """Name of a node -> a port that is free there and that the others reached."""

    def choose(
        self, offered: Candidates, request: NodesRequest, *, at_least: int | None = None
    ) -> Cluster:
        """Return the cluster of the healthy candidates, with notes from the report.

        Raises:
            PreflightError: too few are healthy; the table shows why.
        """
        rows = {row.node: row for row in self.table.rows}
        conditions = {
            each.name: _condition(each, rows[each.name], self.addresses) for each in self.nodes
        }
        try:
            cluster = choose(offered, conditions, request, at_least=at_least)
        except PreflightError as error:
            raise self._explain(error) from None
        used = {node.name for node in cluster.nodes}
        return replace(cluster, notes=(*cluster.notes, *self._notes(used)))

    def environment(self) -> dict[str, dict[str, Any]]:
        """Return by name of the node its hardware and software, for the run folder."""
        return {each.name: _environment(each) for each in self.nodes if not each.problem}

    def _notes(self, used: Container[str]) -> tuple[str, ...]:
        nodes = [each for each in self.nodes if each.name in used]
        table = HealthTable(rows=tuple(row for row in self.table.rows if row.node in used))
        return (*_address_notes(nodes, self.addresses), *table.warnings())

    def _explain(self, error: PreflightError) -> PreflightError:
        if not self.table.bad_nodes:
            return error
        return PreflightError(
            error.message,
            context=self.table.render(self.table.remarkable()),
            hint=error.hint,
        )


@dataclass(frozen=True, kw_only=True)
class ChosenNodes:
    """The nodes of one attempt, and the report on the candidates if they were asked."""

    cluster: Cluster
    report: NodeReport | None = None

    def is_free(self, address: str, port: int) -> bool:
        """Tell whether the rendezvous can be at this port of a node."""
        if self.report is None:
            return node_probe.is_free(port, address)
        names = [node.name for node in self.cluster.nodes if node.address == address]
        return any(self.report.ports.get(name) == port for name in names)

    def environment(self) -> dict[str, dict[str, Any]]:
        """Return the environment of each node that was asked."""
        return self.report.environment() if self.report else {}


def find(needs: NodeNeeds, *, at_least: int | None = None) -> ChosenNodes:
    """Choose the nodes of an attempt; ask the candidates first, unless there is nothing to ask.

    A first start needs all nodes of the request. A restart is satisfied with `at_least`.

    Raises:
        PreflightError: too few candidates are healthy; the message has the reason for each.
    """
    request = needs.request
    offered = candidates(request)
    if offered.complete or not request.cluster.probe:
        return ChosenNodes(cluster=choose(offered, None, request, at_least=at_least))
    with reached(offered, request) as transport:
        report = inspect(offered, transport, needs)
    return ChosenNodes(cluster=report.choose(offered, request, at_least=at_least), report=report)


def inspect_this_machine(needs: NodeNeeds) -> NodeReport:
    """Return the report on the one machine that all nodes of the request share.

    Raises:
        PreflightError: this process cannot write to the storage root.
    """
    offered = one_for_each_machine(candidates(needs.request))
    with reached(offered, needs.request) as transport:
        return inspect(offered, transport, needs)


def one_for_each_machine(offered: Candidates) -> Candidates:
    """Return the candidates, one only if all of them share this machine."""
    same = SOURCES[offered.source].one_machine
    return replace(offered, hosts=offered.hosts[:1]) if same else offered


@contextlib.contextmanager
def reached(offered: Candidates, request: NodesRequest) -> Iterator[Transport | None]:
    """Yield a transport to the candidates; None if this process can answer for them itself."""
    source, python = SOURCES[offered.source], request.cluster.interpreter
    if source.one_machine and python == sys.executable:
        yield None
        return
    reach = transports.Reach(nodes=offered.nodes, python=python)
    with contextlib.closing(transports.create(source.transport, reach)) as transport:
        yield transport


def inspect(offered: Candidates, transport: Transport | None, needs: NodeNeeds) -> NodeReport:
    """Ask all candidates, then let the usable ones try to reach each other.

    Raises:
        PreflightError: this process cannot write to the storage root.
    """
    pool = ThreadPoolExecutor(_MAX_LOOKUPS, thread_name_prefix="names")
    named = {node.node_rank: pool.submit(_resolve, node) for node in offered.nodes}
    pool.shutdown(wait=False)
    nodes = _ask(transport, offered.nodes, needs)
    first = judge(nodes, needs, _own_launcher())
    unusable = {each.node_rank for each, row in zip(nodes, first.rows, strict=True) if row.bad}
    answered = [each for each in nodes if not each.problem]
    ports = _ports(answered, needs, _rendezvous_node(offered, unusable))
    meshed = [each for each in answered if each.node_rank in ports and each.addresses]
    mesh = addresses.ask(transport, meshed, ports) if transport else Mesh()
    chosen = addresses.choose(meshed, mesh, _resolved(named), unusable=unusable)
    table = judge(nodes, needs, _own_launcher(), chosen)
    without_port = {each.name for each in answered if each.node_rank not in ports}
    return NodeReport(
        nodes=nodes,
        addresses=chosen,
        table=_with_busy_ports(table, without_port, needs) if without_port else table,
        ports={each.name: ports[each.node_rank] for each in nodes if each.node_rank in ports},
    )


def _ask(
    transport: Transport | None, nodes: Sequence[Node], needs: NodeNeeds
) -> tuple[NodeFacts, ...]:
    try:
        return ask(transport, nodes, needs)
    except OSError as error:
        problem = DiskProblem.of(error, needs.root)
        raise PreflightError(problem.message, hint=problem.hint) from error


@cache
def _own_launcher() -> OwnLauncher:
    version = node_probe.packages({"packages": PACKAGES}).get(LAUNCHER, "")
    return OwnLauncher(version=version, code=node_probe.code({}))


def _resolve(node: Node) -> tuple[str, ...]:
    try:
        known = socket.getaddrinfo(node.address or node.name, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(str(each[4][0]) for each in known)


def _resolved(named: Mapping[int, Future[tuple[str, ...]]]) -> dict[int, tuple[str, ...]]:
    """We do not wait for a slow name server: the names only break ties."""
    return {rank: each.result() if each.done() else () for rank, each in named.items()}


def _rendezvous_node(offered: Candidates, unusable: Container[int]) -> int | None:
    """Return the node that will probably host the rendezvous: the first one that takes ranks."""
    takers = (host.node.node_rank for host in offered.hosts if host.slots != 0)
    return next((rank for rank in takers if rank not in unusable), None)


def _ports(
    answered: Sequence[NodeFacts], needs: NodeNeeds, rendezvous: int | None
) -> dict[int, int]:
    """Return a free port of each node; two nodes on one machine get different ones."""
    pinned = needs.request.cluster.port
    taken: set[tuple[str, str, int]] = set()
    chosen = {}
    for each in answered:
        for port in (pinned,) if pinned and each.node_rank == rendezvous else needs.ports:
            key = (each.boot_id, each.hostname, port)
            if port in each.free_ports and key not in taken:
                taken.add(key)
                chosen[each.node_rank] = port
                break
    return chosen


def _with_busy_ports(table: HealthTable, names: Container[str], needs: NodeNeeds) -> HealthTable:
    """Return the table with the nodes marked that have no free port for the run."""
    port = needs.request.cluster.port or needs.ports[0]
    cell = Cell(
        text="in use",
        mark=Mark.BAD,
        what=f"port {port} is in use",
        hint="set another one with cluster.port=, or omit it and the launcher finds a free one; "
        f"`ss -ltnp 'sport = :{port}'` shows the process that uses it",
    )
    rows = (
        replace(row, cells={**row.cells, "port": cell}) if row.node in names else row
        for row in table.rows
    )
    return HealthTable(rows=tuple(rows))


def _condition(facts: NodeFacts, row: HealthRow, known: Addresses) -> Condition:
    chosen = known.chosen.get(facts.node_rank)
    return Condition(
        healthy=not row.bad,
        reason=row.reason,
        cpus=facts.cpus,
        gpus=facts.usable_gpus,
        has_cuda=bool(facts.torch_cuda),
        address=chosen.address if chosen else "",
        interface=chosen.interface if chosen else "",
    )


def _address_notes(nodes: Sequence[NodeFacts], known: Addresses) -> list[str]:
    """Return one note for all nodes with the same interface and reason: there may be hundreds."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in nodes:
        chosen = known.chosen.get(each.node_rank)
        if chosen is not None and each.node_rank not in known.cut_off:
            groups.setdefault((chosen.interface, chosen.reason), []).append(each.name)
    return [
        f"{', '.join(names)}: address of {interface} ({reason})"
        for (interface, reason), names in groups.items()
    ]


def _environment(facts: NodeFacts) -> dict[str, Any]:
    return {
        "host": facts.hostname,
        "python": facts.python,
        "executable": facts.executable,
        "platform": facts.platform,
        "packages": dict(facts.packages),
        "torch_cuda": facts.torch_cuda,
        "driver": facts.driver,
        "gpus": [gpu.name for gpu in facts.gpus],
        "cpus": facts.cpus,
        "memory_bytes": facts.memory_bytes,
        "launcher_code": facts.code,
    }
