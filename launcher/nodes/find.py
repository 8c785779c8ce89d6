"""Looking at all nodes before a run: how they are, at which addresses they reach each other."""

from __future__ import annotations

import socket
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from launcher.errors import PreflightError
from launcher.nodes import addresses
from launcher.nodes.addresses import Places
from launcher.nodes.candidate import Candidates, Condition
from launcher.nodes.choose import choose
from launcher.nodes.config import NodesRequest
from launcher.nodes.facts import NodeFacts
from launcher.nodes.health import Wanted, judge
from launcher.nodes.probe import LAUNCHER, PACKAGES, Question, ask
from launcher.nodes.table import Cell, Mark, Row, Table
from launcher.specs import Cluster, Node
from launcher.transports import Transport
from launcher.transports.remote.node_probe import code, packages

_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class LookRequest:
    """What a look depends on."""

    root: Path
    """The storage root."""
    ports: tuple[int, ...]
    """Where the ranks may meet, in the order of preference."""
    pinned: int = 0
    """Where the user wants them to meet, whatever `ports` are; 0 leaves it to us."""
    backend: str = "torchrun"
    device: str = "auto"
    slots: int | None = None
    min_free_gb: float = 0.0
    brings_launcher: bool = False
    """The run brings its own copy of the launcher: what the nodes have does not matter much."""
    write: bool = True
    """Whether to write in the storage root; a plan alone leaves it as it is."""
    timeout_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen."""

    nodes: tuple[NodeFacts, ...]
    places: Places
    table: Table
    ports: Mapping[str, int] = field(default_factory=dict)
    """Name of a node -> a port that is free there and that the others reached."""

    def choose(
        self, candidates: Candidates, request: NodesRequest, *, at_least: int | None = None
    ) -> Cluster:
        """Return the cluster of those nodes that can be used, with notes about what was seen.

        Raises:
            PreflightError: too few can be used; the table shows why.
        """
        rows = {row.node: row for row in self.table.rows}
        conditions = {
            each.name: _condition(each, rows[each.name], self.places) for each in self.nodes
        }
        try:
            chosen = choose(candidates, conditions, request, at_least=at_least)
        except PreflightError as error:
            raise self._explain(error) from None
        used = {node.name for node in chosen.nodes}
        return replace(chosen, notes=(*chosen.notes, *self._notes(used)))

    def environment(self) -> dict[str, dict[str, Any]]:
        """Return by name of the node what it is made of, for the run folder."""
        return {each.name: _environment(each) for each in self.nodes if not each.problem}

    def _notes(self, used: Container[str]) -> tuple[str, ...]:
        """Where the nodes meet, and what is odd about those that are used."""
        nodes = [each for each in self.nodes if each.name in used]
        table = Table(rows=tuple(row for row in self.table.rows if row.node in used))
        return (*_address_notes(nodes, self.places), *table.warnings())

    def _explain(self, error: PreflightError) -> PreflightError:
        """Return `error`, which says that too few nodes can be used, with the odd cells shown."""
        if not self.table.bad_nodes:
            return error
        return PreflightError(
            error.message,
            context=self.table.render(self.table.remarkable()),
            hint=error.hint,
        )


def look(candidates: Candidates, transport: Transport, request: LookRequest) -> Look:
    """Ask all candidates, then let those that can be used try to reach each other.

    Raises:
        PreflightError: the storage root cannot be written from here.
    """
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="names")
    named = {node.node_rank: pool.submit(_resolve, node) for node in candidates.nodes}
    pool.shutdown(wait=False)
    nodes = _ask(candidates.nodes, transport, request)
    first = judge(nodes, wanted := _wanted(request))
    spoiled = {each.node_rank for each, row in zip(nodes, first.rows, strict=True) if row.bad}
    awake = [each for each in nodes if not each.problem]
    ports = _ports(awake, request, _meeting(candidates, spoiled))
    meeting = [each for each in awake if each.node_rank in ports and each.addresses]
    found = addresses.ask(transport, meeting, ports)
    places = addresses.choose(meeting, found, _answers(named), spoiled=spoiled)
    table = judge(nodes, wanted, places)
    taken = {each.name for each in awake if each.node_rank not in ports}
    table = _with_ports(table, taken, request) if taken else table
    names = {each.node_rank: each.name for each in nodes}
    return Look(
        nodes=nodes,
        places=places,
        table=table,
        ports={names[rank]: port for rank, port in ports.items()},
    )


def _ask(
    nodes: Sequence[Node], transport: Transport, request: LookRequest
) -> tuple[NodeFacts, ...]:
    question = Question(
        root=request.root,
        ports=_all_ports(request),
        write=request.write,
        backend=request.backend,
        timeout_s=request.timeout_s,
    )
    try:
        return ask(transport, nodes, question)
    except OSError as error:
        raise PreflightError(
            f"cannot write to `{request.root}`: {(error.strerror or str(error)).lower()}",
            hint="give a folder that all nodes and this machine see: `storage.root=...`",
        ) from error


def _wanted(request: LookRequest) -> Wanted:
    return Wanted(
        launcher=packages({"packages": PACKAGES}).get(LAUNCHER, ""),
        code=code({}),
        root=str(request.root),
        backend=request.backend,
        device=request.device,
        slots=request.slots,
        min_free_bytes=int(request.min_free_gb * 1e9),
        brings_launcher=request.brings_launcher,
        writes=request.write,
    )


def _resolve(node: Node) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(node.address or node.name, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(str(each[4][0]) for each in found)


def _answers(named: Mapping[int, Future[tuple[str, ...]]]) -> dict[int, tuple[str, ...]]:
    """A name server that does not answer is no reason to wait: the names only break ties."""
    return {rank: each.result() if each.done() else () for rank, each in named.items()}


def _all_ports(request: LookRequest) -> tuple[int, ...]:
    return (request.pinned, *request.ports) if request.pinned else request.ports


def _meeting(candidates: Candidates, spoiled: Container[int]) -> int | None:
    """Return where the ranks will probably meet: on the first node that can take any."""
    takes = (host.node.node_rank for host in candidates.hosts if host.slots != 0)
    return next((rank for rank in takes if rank not in spoiled), None)


def _ports(awake: Sequence[NodeFacts], request: LookRequest, meeting: int | None) -> dict[int, int]:
    """Return one free port for each node; two nodes that are the same machine get two."""
    taken: set[tuple[str, str, int]] = set()
    chosen = {}
    for each in awake:
        pinned = request.pinned and each.node_rank == meeting
        for port in (request.pinned,) if pinned else request.ports:
            key = (each.boot_id, each.hostname, port)
            if port in each.free_ports and key not in taken:
                taken.add(key)
                chosen[each.node_rank] = port
                break
    return chosen


def _with_ports(table: Table, taken: Container[str], request: LookRequest) -> Table:
    """Return the table with the nodes marked on which no port is left for the run."""
    port = request.pinned or request.ports[0]
    cell = Cell(
        text="in use",
        mark=Mark.BAD,
        what=f"port {port} is in use there",
        hint="choose another with `cluster.port=`, or leave it out and a free one is taken; "
        f"`ss -ltnp 'sport = :{port}'` there shows who has it",
    )
    rows = (
        replace(row, cells={**row.cells, "port": cell}) if row.node in taken else row
        for row in table.rows
    )
    return Table(rows=tuple(rows))


def _condition(facts: NodeFacts, row: Row, places: Places) -> Condition:
    place = places.places.get(facts.node_rank)
    return Condition(
        healthy=not row.bad,
        reason=row.reason,
        cpus=facts.cpus,
        gpus=facts.usable_gpus,
        has_cuda=bool(facts.torch_cuda),
        address=place.address if place else "",
        interface=place.interface if place else "",
    )


def _address_notes(nodes: Sequence[NodeFacts], places: Places) -> list[str]:
    """One line for all nodes with the same interface and reason: there may be hundreds."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in nodes:
        place = places.places.get(each.node_rank)
        if place is not None and each.node_rank not in places.cut_off:
            groups.setdefault((place.interface, place.reason), []).append(each.name)
    return [
        f"{', '.join(names)}: met on {interface} ({reason})"
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
