"""The answers of one node, and questions to all nodes."""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from launcher.engines import BACKENDS
from launcher.nodes.candidate import NodesRequest
from launcher.nodes.config import PreflightConfig
from launcher.specs import Node
from launcher.specs.codec import from_plain
from launcher.transports import Answer, Transport
from launcher.transports.remote import node_probe, source

LAUNCHER = "hydra-torch-launcher"
PACKAGES = tuple(
    dict.fromkeys(
        (
            *(LAUNCHER, "torch", "numpy", "transformers", "datasets", "safetensors"),
            *(name for row in BACKENDS.built_in.values() for name in row.packages),
            *("nvidia-nccl-cu12", "nvidia-nccl-cu13"),
        )
    )
)
"""Packages whose versions are compared between the nodes, besides those of another's backend."""
_BRIDGES = ("docker", "br-", "virbr", "veth", "cni", "flannel", "cali", "lxc", "lxdbr", "podman")
"""Prefixes of the names of interfaces that lead to containers and virtual machines of a host."""
_SPARE_S = 2.0
"""A probe stops this long before the transport ends it, so that its answer arrives."""


@dataclass(frozen=True, kw_only=True)
class NodeNeeds:
    """What a run needs of each node."""

    request: NodesRequest
    root: Path
    """The storage root."""
    ports: tuple[int, ...]
    """Ports for the rendezvous, in the order of preference. `cluster.port` comes before them."""
    backend: str = "torchrun"
    preflight: PreflightConfig = field(default_factory=PreflightConfig)
    brings_launcher: bool = False
    """The run brings its own copy of the launcher, so the one on the nodes matters little."""
    write: bool = False
    """Test whether all nodes can write in the storage root. `plan` leaves it unchanged."""
    timeout_s: float = 10.0
    interfaces: Mapping[str, str] = field(default_factory=dict)
    """The network interfaces that the user chose: `GLOO_SOCKET_IFNAME` or the like -> value."""

    @property
    def all_ports(self) -> tuple[int, ...]:
        """Every port that matters, each once."""
        pinned = self.request.cluster.port
        return tuple(dict.fromkeys((pinned, *self.ports))) if pinned else self.ports


@dataclass(frozen=True, kw_only=True)
class Interface:
    """One address, and the interface that has it."""

    name: str
    address: str
    prefix: int
    """Bits of the address that name its subnet."""
    up: bool = True
    speed_mbps: int = 0
    """0 if the driver does not report it."""

    @property
    def internal(self) -> bool:
        """Whether it leads to containers or virtual machines of the same host."""
        return self.name.startswith(_BRIDGES)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU, and the processes that compute on it."""

    index: str
    uuid: str
    name: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """The answers of one node. The fields after `problems` have the names of `node_probe`."""

    node_rank: int
    name: str
    problem: str = ""
    """Why there is no answer at all, in one line; then the other fields mean nothing."""
    hint: str = ""
    seconds: float = 0.0
    """How long the answer took, with the login."""
    login_s: float = 0.0
    """How long the login took: the network, the start files of the shell, the start of Python."""
    clock_offset_s: float = 0.0
    """By how much its clock is ahead of ours."""
    clock_error_s: float = 0.0
    """Error bound of the offset."""
    problems: dict[str, str] = field(default_factory=dict)
    """Question -> why it has no answer."""
    hostname: str = ""
    boot_id: str = ""
    python: str = ""
    executable: str = ""
    platform: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    """Name -> version of the installed ones."""
    torch_cuda: str = ""
    """CUDA or ROCm version that torch was built for; empty for a CPU build."""
    code: str = ""
    """Digest of the launcher's own files."""
    driver: str = ""
    """Version of the NVIDIA driver."""
    gpus: tuple[Gpu, ...] = ()
    visible_devices: str | None = None
    """`CUDA_VISIBLE_DEVICES` on the node; None if it is not set."""
    cpus: int = 1
    memory_bytes: int = 0
    free_root: int | None = None
    free_tmp: int | None = None
    free_shm: int | None = None
    nofile: int = 0
    limits: dict[str, int] = field(default_factory=dict)
    """Shell command that sets it -> other limits of a process; those without one are omitted."""
    interfaces: tuple[Interface, ...] = ()
    head_name: tuple[str, ...] = ()
    """Addresses that the head's name resolves to."""
    free_ports: tuple[int, ...] = ()
    """Those of the ports in question that are free."""
    storage_problem: str = ""
    """Why it does not share the storage root with us, or cannot write there."""

    @property
    def usable_gpus(self) -> tuple[str, ...]:
        """GPUs that a run may use, as `CUDA_VISIBLE_DEVICES` writes them."""
        if self.visible_devices is None:
            return tuple(gpu.index for gpu in self.gpus)
        listed = (part.strip() for part in self.visible_devices.split(","))
        return tuple(part for part in listed if part) if self.gpus else ()

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Where others may reach it: IPv4 before IPv6, and bridges only if there is no other."""
        up = [each for each in self.interfaces if each.up]
        outward = [each for each in up if not each.internal] or up
        four = [each for each in outward if ":" not in each.address]
        return tuple(four or outward)

    def version(self, package: str) -> str:
        """Return the version of a package on the node; empty if it is not installed."""
        return self.packages.get(package, "")


def ask(
    transport: Transport | None, nodes: Sequence[Node], needs: NodeNeeds
) -> tuple[NodeFacts, ...]:
    """Ask all nodes in parallel and return their facts, in the order of `nodes`.

    Never raises for a node. Without a transport, this process answers for the machine it is on.

    Raises:
        OSError: this process cannot write to the storage root.
    """
    with StorageToken(needs.root, active=needs.write) as token:
        requests = {
            node.node_rank: {
                "rank": node.node_rank,
                "packages": tuple(dict.fromkeys((*PACKAGES, *BACKENDS[needs.backend].packages))),
                "root": str(needs.root),
                "head": nodes[0].name,
                "ports": needs.all_ports,
                "limit_s": max(1.0, needs.timeout_s - _SPARE_S),
                "token_folder": str(token.folder or ""),
                "token": token.value,
            }
            for node in nodes
        }
        started = time.time()
        answers = (
            transport.ask(source("node_probe"), requests, timeout_s=needs.timeout_s)
            if transport
            else {rank: _own_answer(request) for rank, request in requests.items()}
        )
        sent = (started, time.time())
        facts = [from_answer(answers[node.node_rank], node.name, sent) for node in nodes]
        deadline = time.monotonic() + _APPEARS_WITHIN_S
        return tuple(token.checked(each, deadline) for each in facts)


def _own_answer(request: Mapping[str, Any]) -> Answer:
    asked_at, began = time.time(), time.monotonic()
    value = node_probe.answer(dict(request))
    seconds = time.monotonic() - began
    return Answer(node_rank=request["rank"], value=value, asked_at=asked_at, seconds=seconds)


def from_answer(answer: Answer, name: str, sent: tuple[float, float]) -> NodeFacts:
    """Return the facts in an answer of `node_probe`. Never raises.

    `sent` are the times by our clock when the questions were sent, and when all answers were back:
    less exact than what the answer says, for a transport that does not.
    """
    value = answer.value
    problem = answer.problem
    if answer.asked_at is not None:
        sent = (answer.asked_at, answer.asked_at + answer.seconds)
    if value is not None:
        try:
            offset, error = clock_offset(sent, (value["began"], value["ended"]))
            known = {
                "node_rank": answer.node_rank,
                "name": name,
                "login_s": answer.login_s,
                "seconds": answer.login_s + answer.seconds,
                "clock_offset_s": offset,
                "clock_error_s": error,
            }
            return from_plain(NodeFacts, {**value["facts"], "problems": value["problems"], **known})
        except (KeyError, TypeError, ValueError) as reason:
            problem = f"its answer cannot be read: {type(reason).__name__} {reason}"
    return NodeFacts(
        node_rank=answer.node_rank,
        name=name,
        problem=problem,
        hint=answer.hint,
        login_s=answer.login_s,
        seconds=answer.login_s + answer.seconds,
    )


def clock_offset(asked: tuple[float, float], answered: tuple[float, float]) -> tuple[float, float]:
    """Return by how much the node's clock is ahead of ours, and the error bound of that.

    `asked` are the times by our clock when the question was sent and when the answer was back,
    `answered` the times by the node's clock when it began and when it ended. As in NTP, we assume
    that both directions take equally long.
    """
    ways = (asked[1] - asked[0]) - (answered[1] - answered[0])
    return sum(answered) / 2 - sum(asked) / 2, max(0.0, ways) / 2


# Whether the nodes and this machine share the storage root: files left for each other.
_APPEARS_WITHIN_S = 2.0  # some network file systems show the file of another machine late
_PAUSE_S = 0.05


class StorageToken:
    """A folder in the storage root with a file for the nodes to read; removed at the end.

    The file holds a random value, so that an old copy of the storage root on a node's own disk is
    not taken for the shared one.
    """

    def __init__(self, root: Path, *, active: bool) -> None:
        self.value = uuid.uuid4().hex
        self.folder = root / f".launcher-probe-{self.value}" if active else None

    def __enter__(self) -> Self:
        if self.folder:
            try:
                self.folder.mkdir(parents=True)
                (self.folder / "launcher").write_text(self.value, encoding="utf-8")
            except OSError:
                self._remove()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def checked(self, facts: NodeFacts, deadline: float) -> NodeFacts:
        """Return `facts`, with a problem if the node's file is not seen here by `deadline`.

        The deadline, in monotonic seconds, is one for all nodes: hundreds may share no storage.
        """
        failed = facts.problem or facts.storage_problem or "storage_problem" in facts.problems
        if (
            self.folder is None
            or failed
            or self._appears(self.folder / str(facts.node_rank), deadline)
        ):
            return facts
        return replace(facts, storage_problem="files that it writes do not appear here")

    def _appears(self, path: Path, deadline: float) -> bool:
        while True:
            with contextlib.suppress(OSError):
                if path.read_text(encoding="utf-8") == self.value:
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)

    def _remove(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
