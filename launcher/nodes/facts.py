"""What one node says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.transports import Answer

_BRIDGES = ("docker", "br-", "virbr", "veth", "cni", "flannel", "cali", "lxc", "lxdbr", "podman")
"""Beginnings of the names of interfaces that lead to containers and virtual machines of a host."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """One address and the interface that has it."""

    name: str
    address: str
    prefix: int
    """Bits of the address that name its subnet."""
    up: bool = True
    speed_mbps: int = 0
    """0 where the driver does not tell."""

    @property
    def internal(self) -> bool:
        """Whether it leads to containers or virtual machines of the same host."""
        return self.name.startswith(_BRIDGES)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU and who computes on it already."""

    index: str
    uuid: str
    name: str
    memory_mib: int
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """The answers of one node. What it could not tell is in `problems`, by the question's name."""

    node_rank: int
    name: str
    problem: str = ""
    """Why it told nothing at all, in one line; then all other fields say nothing either."""
    hint: str = ""
    seconds: float = 0.0
    """How long the answer took."""
    clock_offset_s: float = 0.0
    """By how much its clock is ahead of ours."""
    clock_error_s: float = 0.0
    """How wrong the offset may be."""
    hostname: str = ""
    boot_id: str = ""
    python: str = ""
    executable: str = ""
    platform: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Name -> version, of those that are installed."""
    torch_cuda: str = ""
    """CUDA or ROCm version that torch was built for; empty for a CPU build."""
    code: str = ""
    """Digest of the launcher's own files."""
    driver: str = ""
    """Version of the NVIDIA driver."""
    gpus: tuple[Gpu, ...] = ()
    visible_devices: str | None = None
    """`CUDA_VISIBLE_DEVICES` over there; None when it is not set."""
    cpus: int = 1
    memory_bytes: int = 0
    free_root: int | None = None
    free_tmp: int | None = None
    free_shm: int | None = None
    nofile: int = 0
    nofile_hard: int = 0
    memlock: int = 0
    interfaces: tuple[Interface, ...] = ()
    head_name: tuple[str, ...] = ()
    """Addresses that the head's name has there."""
    free_ports: tuple[int, ...] = ()
    """Those of the ports we asked about that are free there."""
    storage_problem: str = ""
    """Why it does not see what we wrote in the storage root, or cannot write there."""
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable_gpus(self) -> tuple[str, ...]:
        """GPUs that a run may use, as `CUDA_VISIBLE_DEVICES` writes them."""
        if self.visible_devices is None:
            return tuple(gpu.index for gpu in self.gpus)
        listed = (part.strip() for part in self.visible_devices.split(","))
        return tuple(part for part in listed if part) if self.gpus else ()

    @property
    def addresses(self) -> tuple[Interface, ...]:
        """Where others might reach it: IPv4 before IPv6, and bridges only if there is no other."""
        up = [each for each in self.interfaces if each.up]
        outward = [each for each in up if not each.internal] or up
        four = [each for each in outward if ":" not in each.address]
        return tuple(four or outward)

    def version(self, package: str) -> str:
        """Return the version of a package there; empty when it is not installed."""
        return self.packages.get(package, "")


def from_answer(answer: Answer, name: str, asked: tuple[float, float]) -> NodeFacts:
    """Read an answer of `node_probe`; whatever it holds, this does not fail.

    `asked` are our clock's times when the nodes were asked, and when all had answered.
    """
    if answer.value is None:
        return _silent(answer, name, answer.problem)
    try:
        return _read(answer.value, answer, name, asked)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _silent(answer, name, f"its answer cannot be read: {type(error).__name__} {error}")


def _silent(answer: Answer, name: str, problem: str) -> NodeFacts:
    return NodeFacts(
        node_rank=answer.node_rank,
        name=name,
        problem=problem,
        hint=answer.hint,
        seconds=answer.seconds,
    )


def _read(
    value: Mapping[str, Any], answer: Answer, name: str, asked: tuple[float, float]
) -> NodeFacts:
    facts: Mapping[str, Any] = value["facts"]
    host: Mapping[str, Any] = facts.get("host", {})
    build: Mapping[str, str] = facts.get("torch_build", {})
    soft, hard = host.get("nofile", (0, 0))
    offset, error = clock_offset(asked, answer.seconds, (value["began"], value["ended"]))
    return NodeFacts(
        node_rank=answer.node_rank,
        name=name,
        seconds=answer.seconds,
        clock_offset_s=offset,
        clock_error_s=error,
        **{key: host[key] for key in _OF_HOST if key in host},
        packages=facts.get("packages", {}),
        torch_cuda=build.get("cuda", "") or build.get("hip", ""),
        **{key: facts[key] for key in ("code", "driver") if key in facts},
        gpus=tuple(Gpu(**{**gpu, "pids": tuple(gpu["pids"])}) for gpu in facts.get("gpus", ())),
        free_root=facts.get("free_root"),
        free_tmp=facts.get("free_tmp"),
        free_shm=facts.get("free_shm"),
        nofile=soft,
        nofile_hard=hard,
        interfaces=tuple(Interface(**each) for each in facts.get("interfaces", ())),
        head_name=tuple(facts.get("head_name", ())),
        free_ports=tuple(facts.get("free_ports", ())),
        storage_problem=facts.get("storage", {}).get("problem", ""),
        problems=value["problems"],
    )


_OF_HOST = (
    *("hostname", "boot_id", "python", "executable", "platform", "cpus", "memory_bytes"),
    *("memlock", "visible_devices"),
)


def clock_offset(
    asked: tuple[float, float], seconds: float, told: tuple[float, float]
) -> tuple[float, float]:
    """Return by how much the node's clock is ahead of ours, and how wrong that may be.

    `told` are the node's clock when it began and when it had ended. The way there and the way back
    are taken to be equally long, as time protocols do. An answer that took less time than all
    together may have been asked for later: a transport tries again, or asks a few at a time.
    """
    ours, theirs = asked[0] + seconds / 2, (told[0] + told[1]) / 2
    way, later = seconds - (told[1] - told[0]), asked[1] - asked[0] - seconds
    return theirs - ours, max(0.0, way) / 2 + max(0.0, later)
