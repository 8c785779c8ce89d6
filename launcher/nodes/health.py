"""Is each node fit for the run? One row for each node, one cell for each check. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from types import MappingProxyType

from launcher import units
from launcher.engines import BACKENDS
from launcher.nodes.addresses import Addresses
from launcher.nodes.facts import LAUNCHER, PACKAGES, NodeFacts, NodeNeeds
from launcher.nodes.table import Cell, HealthRow, HealthTable, Mark

CLOCK_ODD_S, CLOCK_BAD_S = 5.0, 60.0
"""A clock that is off by seconds hides which failure was first; by minutes, it also breaks file
times, tokens and certificates."""
LOGIN_ODD_S, LOGIN_ODD_TIMES = 4.0, 3.0
FILES_ODD, FILES_BAD = 1024, 256
TMP_BAD_BYTES = 100 * 10**6
SHM_PER_RANK = 16 * 2**20
_OF_NCCL = "NCCL_SOCKET_IFNAME"
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", _OF_NCCL)
LIMITS_BAD = {
    "ulimit -v": 2**30,  # the import of torch takes most of it
    "ulimit -d": 2**28,
    "ulimit -f": 2**30,
    "ulimit -t": 3600,
    "ulimit -u": 256,
}
"""Bytes, seconds of computing and processes."""
LIMITS_ODD = ("ulimit -v", "ulimit -d", "ulimit -f", "ulimit -t")
_WITH_OWN_COLUMN = ("torch", LAUNCHER)


@dataclass(frozen=True, kw_only=True)
class OwnLauncher:
    """The launcher of this process, which the nodes should have too."""

    version: str
    code: str
    """Digest of its files."""


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """One node among the others."""

    facts: NodeFacts
    usual: Majority
    needs: NodeNeeds
    own: OwnLauncher
    is_head: bool
    alone: bool
    addresses: Addresses | None


def judge(
    nodes: Sequence[NodeFacts],
    needs: NodeNeeds,
    own: OwnLauncher,
    addresses: Addresses | None = None,
) -> HealthTable:
    """Return the table; the network is judged only if `addresses` are known. Never raises."""
    usual = Majority.of(nodes)
    subjects = [
        _Subject(
            facts=each,
            usual=usual,
            needs=needs,
            own=own,
            is_head=place == 0,
            alone=len(nodes) == 1,
            addresses=addresses,
        )
        for place, each in enumerate(nodes)
    ]
    rows = (HealthRow(node=each.facts.name, cells=_cells(each)) for each in subjects)
    return HealthTable(rows=tuple(rows))


def _cells(node: _Subject) -> Mapping[str, Cell]:
    facts = node.facts
    if facts.problem:
        return {"answer": _bad("none", f"no answer: {facts.problem}", facts.hint)}
    cells = {"answer": _answer(node)}
    for name, (question, check) in CHECKS.items():
        if node.alone and name in _BETWEEN_NODES:
            continue
        unknown = facts.problems.get(question)
        cell = _unknown(name, unknown) if unknown else check(node)
        if cell is not None:
            cells[name] = cell
    return cells


def _answer(node: _Subject) -> Cell:
    facts, text = node.facts, units.duration(node.facts.seconds)
    if facts.login_s < max(LOGIN_ODD_S, LOGIN_ODD_TIMES * node.usual.login_s):
        return Cell(text=text)
    usual = units.duration(node.usual.login_s)
    return _odd(
        text,
        f"its login is slow: {units.duration(facts.login_s)}, other nodes take {usual}; "
        "its start files (~/.bashrc), name lookups or load may be the cause",
    )


def _unknown(name: str, reason: str) -> Cell:
    if name in _MAY_BE_UNKNOWN:
        return _odd("unknown", f"{name}: {reason}")
    return _bad("unknown", f"{name}: {reason}", "log in to the node: does `df` or `ls` hang?")


def _clock(node: _Subject) -> Cell:
    offset, error = node.facts.clock_offset_s, node.facts.clock_error_s
    proven = max(0.0, abs(offset) - error)
    text = f"{offset:+.1f} s" if proven > CLOCK_ODD_S else f"< {abs(offset) + error:.1f} s"
    side = "ahead of" if offset > 0 else "behind"
    what = f"its clock is {abs(offset):.1f} s {side} ours"
    if proven > CLOCK_BAD_S:
        return _bad(text, what, "set the clock: `chronyc makestep`, or `timedatectl set-ntp true`")
    return _odd(text, what) if proven > CLOCK_ODD_S else Cell(text=text)


def _python(node: _Subject) -> Cell:
    return _compared("Python", node.facts.python, node.usual.python)


def _torch(node: _Subject) -> Cell:
    return _compared("torch", node.facts.version("torch"), node.usual.packages["torch"])


def _launcher(node: _Subject) -> Cell:
    version, own = node.facts.version(LAUNCHER), node.own
    if node.needs.brings_launcher:
        if version in ("", own.version):
            return Cell(text=version or "brought")
        return _odd(version, f"launcher {version} is installed, but the run uses {own.version}")
    hint = f"install the same version there: `{node.facts.executable} -m pip install ...`"
    if not version and not node.facts.code:
        return _bad("missing", f"the launcher is not installed for {node.facts.executable}", hint)
    if version and version != own.version:
        return _bad(version, f"launcher {version}, expected {own.version} as on this machine", hint)
    if node.facts.code != own.code and "code" not in node.facts.problems:
        return _odd("other code", "the files of its launcher differ from those on this machine")
    return Cell(text=version or "checkout")


def _packages(node: _Subject) -> Cell:
    usual, needed = node.usual.packages, BACKENDS[node.needs.backend].packages
    missing = [name for name in needed if not node.facts.version(name)]
    if missing:
        what = f"backend={node.needs.backend} needs {' and '.join(missing)}, which is not installed"
        return _bad("missing", what, _install(" and ".join(missing)))
    others = [name for name in usual if name not in _WITH_OWN_COLUMN]
    odd = [
        f"{name} {node.facts.version(name) or 'missing'} (most nodes have {usual[name] or 'none'})"
        for name in others
        if node.facts.version(name) != usual[name]
    ]
    return _odd(f"{len(odd)} differ", ", ".join(odd)) if odd else Cell(text="same")


def _gpus(node: _Subject) -> Cell | None:
    facts, usual = node.facts, node.usual
    names = sorted({gpu.name for gpu in facts.gpus})
    text = f"{len(facts.gpus)} {' + '.join(names)}" if facts.gpus else "none"
    if node.needs.request.device == "cuda" and not facts.usable_gpus:
        return _bad(text, "no GPU is visible", "use device=cpu, or check `nvidia-smi` there")
    if len(facts.gpus) != usual.gpus:
        return _odd(text, f"{len(facts.gpus)} GPUs, most nodes have {usual.gpus}")
    if facts.driver != usual.driver:
        return _odd(text, f"NVIDIA driver {facts.driver or 'none'}, most nodes have {usual.driver}")
    usable = set(facts.usable_gpus)
    busy = [gpu for gpu in facts.gpus if gpu.pids and usable & {gpu.index, gpu.uuid}]
    if busy and node.needs.request.device != "cpu":
        listed = ", ".join(f"GPU {gpu.index} by process {gpu.pids[0]}" for gpu in busy)
        return _odd(f"{len(busy)} in use", f"other processes use its GPUs: {listed}")
    return Cell(text=text)


def _storage(node: _Subject) -> Cell | None:
    if not node.needs.write:
        return None
    reason = node.facts.storage_problem
    if not reason:
        return Cell(text="shared")
    return _bad(
        reason,
        f"storage.root={node.needs.root}: {reason}",
        "every node must see and write the same folder: mount it, or set another storage.root=",
    )


def _disk(node: _Subject) -> Cell | None:
    free, wanted = node.facts.free_root, int(node.needs.preflight.min_free_gb * 1e9)
    if free is None:
        return None
    if free >= wanted:
        return Cell(text=units.size(free))
    what = (
        f"only {units.size(free)} are free in storage.root, expected at least {units.size(wanted)}"
    )
    return _bad(
        units.size(free),
        what,
        "free some space, set another storage.root=, or lower preflight.min_free_gb=",
    )


def _tmp(node: _Subject) -> Cell | None:
    free = node.facts.free_tmp
    if free is None or free >= TMP_BAD_BYTES:
        return None if free is None else Cell(text=units.size(free))
    what = f"only {units.size(free)} are free in its folder for temporary files"
    return _bad(units.size(free), what, "free some space there, or set TMPDIR to another folder")


def _shm(node: _Subject) -> Cell | None:
    free = node.facts.free_shm
    ranks = node.needs.request.slots or len(node.facts.usable_gpus) or 1
    if free is None or free >= SHM_PER_RANK * ranks:
        return None if free is None else Cell(text=units.size(free))
    wanted = units.size(SHM_PER_RANK * ranks)
    what = f"only {units.size(free)} are free in /dev/shm, expected at least {wanted}"
    hint = "delete leftovers there; for a container set --shm-size=1g"
    return _bad(units.size(free), what, hint)


def _files(node: _Subject) -> Cell:
    limit = node.facts.nofile
    text = str(limit) if limit >= 0 else "unlimited"
    what = f"a process can open only {limit} files"
    if 0 <= limit < FILES_BAD:
        return _bad(
            text, what, "raise the limit: `ulimit -n 65536`, or in /etc/security/limits.conf"
        )
    return _odd(text, what) if 0 <= limit < FILES_ODD else Cell(text=text)


def _limits(node: _Subject) -> Cell:
    """Limits that a start file of the login sets hold for the ranks as well."""
    for name, least in LIMITS_BAD.items():
        limit = node.facts.limits.get(name)
        if limit is not None and limit < least:
            what = (
                f"`{name}` limits its processes to {_limit(name, limit)}, expected at least "
                f"{_limit(name, least)}"
            )
            hint = "remove it from its start files (~/.bashrc) or /etc/security/limits.conf"
            return _bad(name, what, hint)
    unusual = [name for name in LIMITS_ODD if name in node.facts.limits]
    shown = ", ".join(f"`{name}` is {_limit(name, node.facts.limits[name])}" for name in unusual)
    return _odd(unusual[0], f"its processes are limited: {shown}") if unusual else Cell(text="none")


def _limit(name: str, value: int) -> str:
    if name == "ulimit -t":
        return f"{value} s"
    return f"{value} processes" if name == "ulimit -u" else units.size(value)


def _head_name(node: _Subject) -> Cell:
    names = node.facts.head_name
    loops = [address for address in names if address.startswith("127.") or address == "::1"]
    if loops and not node.is_head:
        return _odd(
            loops[0], f"the name of the head resolves to {loops[0]} there, which is the node itself"
        )
    return Cell(text=names[0] if names else "none")


def _network(node: _Subject) -> Cell | None:
    if node.addresses is None:
        return None
    reason = node.addresses.cut_off.get(node.facts.node_rank)
    if node.facts.node_rank in node.addresses.silent:
        hint = (
            "its login may be slow, or it may be overloaded: try again, or leave it out "
            f"(cluster.exclude=[{node.facts.name}])"
        )
        return _bad("silent", f"it did not test its connections: {reason}", hint)
    if reason:
        hint = "check the firewall between them: all ports from 1024 up must be open"
        return _bad("cut off", reason, hint)
    chosen = node.addresses.chosen.get(node.facts.node_rank)
    return Cell(text=f"{chosen.address} {chosen.interface}") if chosen else None


def _interface(node: _Subject) -> Cell | None:
    """Gloo and NCCL report an interface that does not exist late, and not by its name."""
    on_gpus = node.needs.request.device != "cpu" and node.facts.usable_gpus
    chosen = {
        name: value for name, value in node.needs.interfaces.items() if on_gpus or name != _OF_NCCL
    }
    present = sorted({each.name for each in node.facts.interfaces} | {"lo"})
    for name, value in chosen.items():
        if not _is_present(name, value, present):
            return _bad(
                f"no {value}",
                f"{name}={value}, but its interfaces are {', '.join(present)}",
                f"unset {name} (or omit env.{name}=): the launcher finds each interface",
            )
    return Cell(text=", ".join(chosen.values())) if chosen else None


def _is_present(variable: str, value: str, present: Sequence[str]) -> bool:
    """Gloo takes names. NCCL takes prefixes, names after `=`, or what not to use after `^`."""
    if variable != _OF_NCCL:
        return all(name in present for name in value.split(","))
    if value.startswith("^"):
        return True
    names = tuple(value.lstrip("=").split(","))
    if value.startswith("="):
        return any(each in names for each in present)
    return any(each.startswith(names) for each in present)


_Question = tuple[str, Callable[[_Subject], Cell | None]]

CHECKS: Mapping[str, _Question] = MappingProxyType(
    {
        "clock": ("clock", _clock),
        "python": ("host", _python),
        "torch": ("packages", _torch),
        "launcher": ("packages", _launcher),
        "packages": ("packages", _packages),
        "gpus": ("gpus", _gpus),
        "storage": ("storage_problem", _storage),
        "disk": ("free_root", _disk),
        "tmp": ("free_tmp", _tmp),
        "shm": ("free_shm", _shm),
        "files": ("host", _files),
        "limits": ("host", _limits),
        "head": ("head_name", _head_name),
        "network": ("interfaces", _network),
        "interface": ("interfaces", _interface),
    }
)
"""Name of a column -> the question of the probe that it depends on, and the check of the answer."""
_BETWEEN_NODES = frozenset({"head", "network"})
"""Skipped for a single node."""
_MAY_BE_UNKNOWN = frozenset({"gpus", "head", "interface", "packages", "tmp"})


def _compared(what: str, version: str, usual: str) -> Cell:
    """Another patch level or build is worth a note; another release cannot be used."""
    if version and version == usual:
        return Cell(text=version)
    if not version and not usual:
        return _bad("missing", f"{what} is missing", _install(what))
    text = version or "missing"
    sentence = f"{what} {text}, most nodes have {usual or 'none'}"
    if version and usual and same_release(version, usual):
        return _odd(text, sentence)
    return _bad(text, sentence, _install(what))


def _install(what: str) -> str:
    return f"all nodes need the same {what}: share one environment, or set cluster.python="


def _bad(text: str, what: str, hint: str) -> Cell:
    return Cell(text=text, mark=Mark.BAD, what=what, hint=hint)


def _odd(text: str, what: str) -> Cell:
    return Cell(text=text, mark=Mark.ODD, what=what)


# What most nodes have. The others are compared with it.
@dataclass(frozen=True, kw_only=True)
class Majority:
    """The most frequent values of a cluster; in a tie, those of the first node."""

    python: str
    packages: Mapping[str, str]
    """Name -> version; empty where most nodes do not have the package."""
    driver: str
    gpus: int
    login_s: float
    """What half of the nodes need at most, the slowest of two excluded."""

    @classmethod
    def of(cls, nodes: Sequence[NodeFacts]) -> Majority:
        """Return the values of the nodes that answered."""
        answered = [each for each in nodes if not each.problem]
        names = dict.fromkeys((*PACKAGES, *(name for each in answered for name in each.packages)))
        return cls(
            python=most_common(each.python for each in answered),
            packages={name: most_common(each.version(name) for each in answered) for name in names},
            driver=most_common(each.driver for each in answered),
            gpus=int(most_common(str(len(each.gpus)) for each in answered) or 0),
            login_s=median_low([each.login_s for each in answered] or [0.0]),
        )


def most_common(values: Iterable[str]) -> str:
    """Return the most frequent value, the first one in a tie; empty without values."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else ""


def same_release(one: str, other: str) -> bool:
    """Tell whether two versions differ at most in patch level or build: 2.13.0, 2.13.1+cpu.

    Versions 0.1 and 0.2 are different releases too.
    """
    return re.findall(r"\d+", one)[:2] == re.findall(r"\d+", other)[:2]
