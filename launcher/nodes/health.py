"""What the nodes said, judged: one row for each node, one cell for each check. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from launcher import units
from launcher.engines import BACKENDS
from launcher.nodes.addresses import Places
from launcher.nodes.facts import NodeFacts
from launcher.nodes.probe import LAUNCHER, PACKAGES
from launcher.nodes.table import Cell, Mark, Row, Table

CLOCK_ODD_S, CLOCK_BAD_S = 5.0, 60.0
"""A clock that is off by seconds confuses which failure came first; by minutes, file times, tokens
and certificates too."""
FILES_ODD, FILES_BAD = 1024, 256
TMP_BAD_BYTES = 100 * 10**6
SHM_PER_RANK = 16 * 2**20
OLDEST_PYTHON = (3, 11)
_BESIDE_THE_MAIN_ONES = ("torch", LAUNCHER)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run needs of the nodes."""

    launcher: str
    """Version of the launcher where the command was typed."""
    code: str
    """Digest of its files there."""
    root: str
    backend: str = "torchrun"
    device: str = "auto"
    slots: int | None = None
    """Ranks on each node; None where the node's GPUs decide."""
    min_free_bytes: int = 0
    brings_launcher: bool = False
    """The run brings its own copy of the launcher to the nodes."""
    writes: bool = True
    """Whether the nodes were asked to write in the storage root."""


@dataclass(frozen=True, kw_only=True)
class _View:
    """One node among the others."""

    facts: NodeFacts
    usual: Majority
    wanted: Wanted
    is_head: bool
    alone: bool
    places: Places | None


def judge(nodes: Sequence[NodeFacts], wanted: Wanted, places: Places | None = None) -> Table:
    """Return the table; the network is judged only when `places` are known. Never raises."""
    usual = Majority.of(nodes)
    views = [
        _View(
            facts=each,
            usual=usual,
            wanted=wanted,
            is_head=place == 0,
            alone=len(nodes) == 1,
            places=places,
        )
        for place, each in enumerate(nodes)
    ]
    return Table(rows=tuple(Row(node=each.facts.name, cells=_cells(each)) for each in views))


def _cells(view: _View) -> Mapping[str, Cell]:
    facts = view.facts
    if facts.problem:
        return {"answer": _bad("none", f"it does not answer: {facts.problem}", facts.hint)}
    cells = {"answer": Cell(text=units.duration(facts.seconds))}
    for name, (question, check) in CHECKS.items():
        if view.alone and name in _BETWEEN_NODES:
            continue
        unknown = facts.problems.get(question)
        cell = _unknown(name, unknown) if unknown else check(view)
        if cell is not None:
            cells[name] = cell
    return cells


def _unknown(name: str, reason: str) -> Cell:
    if name in _MAY_BE_UNKNOWN:
        return _odd("unknown", f"{name}: {reason}")
    return _bad("unknown", f"{name}: {reason}", "look at it by hand: does `df` or `ls` hang there?")


def _clock(view: _View) -> Cell:
    offset, error = view.facts.clock_offset_s, view.facts.clock_error_s
    proven = max(0.0, abs(offset) - error)
    text = f"{offset:+.1f} s" if proven > CLOCK_ODD_S else f"< {abs(offset) + error:.1f} s"
    side = "ahead of" if offset > 0 else "behind"
    what = f"its clock is {abs(offset):.1f} s {side} ours"
    if proven > CLOCK_BAD_S:
        return _bad(text, what, "set it: `chronyc makestep`, or `timedatectl set-ntp true`")
    return _odd(text, what) if proven > CLOCK_ODD_S else Cell(text=text)


def _python(view: _View) -> Cell:
    here, usual = view.facts.python, view.usual.python
    if tuple(int(part) for part in here.split(".")[:2]) < OLDEST_PYTHON:
        oldest = ".".join(str(part) for part in OLDEST_PYTHON)
        return _bad(
            here,
            f"Python {here} is too old ({view.facts.executable})",
            f"give one of at least {oldest} that all nodes have: cluster.python=/path/to/python",
        )
    return _compared("Python", here, usual)


def _torch(view: _View) -> Cell:
    return _compared("torch", view.facts.version("torch"), view.usual.packages["torch"])


def _launcher(view: _View) -> Cell:
    here, wanted = view.facts.version(LAUNCHER), view.wanted
    if wanted.brings_launcher:
        other = here and here != wanted.launcher
        what = f"launcher {here} is installed, but the run brings its own {wanted.launcher}"
        return _odd(here, what) if other else Cell(text=here or "brought")
    hint = f"install the same version there: `{view.facts.executable} -m pip install ...`"
    if not here and not view.facts.code:
        return _bad("missing", f"the launcher is not installed for {view.facts.executable}", hint)
    if here and here != wanted.launcher:
        return _bad(here, f"launcher {here}, but {wanted.launcher} where you typed", hint)
    if view.facts.code != wanted.code and "code" not in view.facts.problems:
        return _odd("other code", "its launcher's files differ from those where you typed")
    return Cell(text=here or "checkout")


def _packages(view: _View) -> Cell:
    usual, needed = view.usual.packages, BACKENDS[view.wanted.backend].packages
    missing = [name for name in needed if not view.facts.version(name)]
    if missing:
        what = f"backend={view.wanted.backend} needs {' and '.join(missing)}, which is not there"
        return _bad("missing", what, _install(" and ".join(missing)))
    others = [name for name in usual if name not in _BESIDE_THE_MAIN_ONES]
    odd = [
        f"{name} {view.facts.version(name) or 'missing'} (most have {usual[name] or 'none'})"
        for name in others
        if view.facts.version(name) != usual[name]
    ]
    return _odd(f"{len(odd)} differ", ", ".join(odd)) if odd else Cell(text="same")


def _gpus(view: _View) -> Cell | None:
    facts, usual = view.facts, view.usual
    names = sorted({gpu.name for gpu in facts.gpus})
    text = f"{len(facts.gpus)} {' + '.join(names)}" if facts.gpus else "none"
    if view.wanted.device == "cuda" and not facts.usable_gpus:
        return _bad(text, "it shows no GPU", "device=cpu, or look at `nvidia-smi` there")
    if len(facts.gpus) != usual.gpus:
        return _odd(text, f"it has {len(facts.gpus)} GPUs, most have {usual.gpus}")
    if facts.driver != usual.driver:
        return _odd(text, f"NVIDIA driver {facts.driver or 'none'}, most have {usual.driver}")
    busy = [gpu for gpu in facts.gpus if gpu.pids and gpu.index in facts.usable_gpus]
    if busy and view.wanted.device != "cpu":
        listed = ", ".join(f"GPU {gpu.index} by process {gpu.pids[0]}" for gpu in busy)
        return _odd(f"{len(busy)} in use", f"somebody computes there already: {listed}")
    return Cell(text=text)


def _storage(view: _View) -> Cell | None:
    if not view.wanted.writes:
        return None
    reason = view.facts.storage_problem
    if not reason:
        return Cell(text="shared")
    return _bad(
        reason,
        f"storage.root={view.wanted.root}: {reason}",
        "every node has to see the same folder and write there: mount it, or give another root",
    )


def _disk(view: _View) -> Cell | None:
    free, wanted = view.facts.free_root, view.wanted.min_free_bytes
    if free is None:
        return None
    if free >= wanted:
        return Cell(text=units.size(free))
    what = f"only {units.size(free)} are free in storage.root, {units.size(wanted)} are wanted"
    return _bad(units.size(free), what, "free some, or accept it with preflight.min_free_gb=")


def _tmp(view: _View) -> Cell | None:
    free = view.facts.free_tmp
    if free is None or free >= TMP_BAD_BYTES:
        return None if free is None else Cell(text=units.size(free))
    what = f"only {units.size(free)} are free in its folder for temporary files"
    return _bad(units.size(free), what, "free some there, or set TMPDIR to another folder")


def _shm(view: _View) -> Cell | None:
    free = view.facts.free_shm
    ranks = view.wanted.slots or len(view.facts.usable_gpus) or 1
    if free is None or free >= SHM_PER_RANK * ranks:
        return None if free is None else Cell(text=units.size(free))
    wanted = units.size(SHM_PER_RANK * ranks)
    what = f"only {units.size(free)} are free in /dev/shm, {wanted} are wanted"
    hint = "delete what is left over there, or in a container give more: --shm-size=1g"
    return _bad(units.size(free), what, hint)


def _files(view: _View) -> Cell:
    limit = view.facts.nofile
    text = str(limit) if limit >= 0 else "unlimited"
    what = f"a process may open only {limit} files"
    if 0 <= limit < FILES_BAD:
        return _bad(text, what, "raise it: `ulimit -n 65536`, or in /etc/security/limits.conf")
    return _odd(text, what) if 0 <= limit < FILES_ODD else Cell(text=text)


def _head_name(view: _View) -> Cell:
    found = view.facts.head_name
    loops = [address for address in found if address.startswith("127.") or address == "::1"]
    if loops and not view.is_head:
        return _odd(loops[0], f"the head's name means {loops[0]} there, which is itself")
    return Cell(text=found[0] if found else "none")


def _network(view: _View) -> Cell | None:
    if view.places is None:
        return None
    reason = view.places.cut_off.get(view.facts.node_rank)
    if reason:
        hint = "look at the firewall between them: all ports from 1024 up have to be open"
        return _bad("cut off", reason, hint)
    place = view.places.places.get(view.facts.node_rank)
    if place is None:
        return None
    return Cell(text=f"{place.address} {place.interface}")


_Question = tuple[str, Callable[[_View], Cell | None]]

CHECKS: Mapping[str, _Question] = MappingProxyType(
    {
        "clock": ("clock", _clock),
        "python": ("host", _python),
        "torch": ("packages", _torch),
        "launcher": ("packages", _launcher),
        "packages": ("packages", _packages),
        "gpus": ("gpus", _gpus),
        "storage": ("storage", _storage),
        "disk": ("free_root", _disk),
        "tmp": ("free_tmp", _tmp),
        "shm": ("free_shm", _shm),
        "files": ("host", _files),
        "head": ("head_name", _head_name),
        "network": ("interfaces", _network),
    }
)
"""Name of a column -> the question of the probe that it needs, and how its answer is judged."""
_BETWEEN_NODES = frozenset({"head", "network"})
"""A node that is alone needs neither."""
_MAY_BE_UNKNOWN = frozenset({"gpus", "head", "packages", "tmp"})


def _compared(what: str, here: str, usual: str) -> Cell:
    """A difference in the patch level or the build is told; another release cannot be used."""
    if here == usual:
        return (
            Cell(text=here or "missing") if here else _bad("missing", f"no {what}", _install(what))
        )
    text = here or "missing"
    sentence = f"{what} {text}, most nodes have {usual or 'none'}"
    if here and usual and same_release(here, usual):
        return _odd(text, sentence)
    return _bad(text, sentence, _install(what))


def _install(what: str) -> str:
    return f"all nodes need the same {what}: share one environment, or give cluster.python="


def _bad(text: str, what: str, hint: str) -> Cell:
    return Cell(text=text, mark=Mark.BAD, what=what, hint=hint)


def _odd(text: str, what: str) -> Cell:
    return Cell(text=text, mark=Mark.ODD, what=what)


# What most nodes have, against which the others are compared. Pure.
@dataclass(frozen=True, kw_only=True)
class Majority:
    """The usual values of a cluster; of equally frequent ones that of the node named first."""

    python: str
    packages: Mapping[str, str]
    """Name -> version; empty where most nodes do not have the package."""
    driver: str
    gpus: int

    @classmethod
    def of(cls, nodes: Sequence[NodeFacts]) -> Majority:
        """Return the values of those nodes that told any."""
        told = [each for each in nodes if not each.problem]
        names = dict.fromkeys((*PACKAGES, *(name for each in told for name in each.packages)))
        return cls(
            python=most_common(each.python for each in told),
            packages={name: most_common(each.version(name) for each in told) for name in names},
            driver=most_common(each.driver for each in told),
            gpus=int(most_common(str(len(each.gpus)) for each in told) or 0),
        )


def most_common(values: Iterable[str]) -> str:
    """Return the most frequent value, of equally frequent ones the first; empty without any."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else ""


def same_release(one: str, other: str) -> bool:
    """Tell whether two versions differ at most in their patch level or build: 2.13.0, 2.13.1+cpu.

    Before 1.0 nothing is promised between 0.1 and 0.2 either, so two numbers decide there too.
    """
    return re.findall(r"\d+", one)[:2] == re.findall(r"\d+", other)[:2]
