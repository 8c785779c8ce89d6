"""What people type to what Hydra's grammar means. Pure: text in, text out.

Each rewriting spares a person from knowing a rule of the grammar, and leaves alone everything that
is written in the grammar already:

* `model=hf://org/name`   is the choice `uri` with that source (`data=` and paths too);
* `params.depth=3`        adds to a free dict without a `+`;
* `args=[--lr,1e-4]`      keeps the texts as typed: the grammar would make a number of `1e-4`;
* `run_id=1e5`            likewise;
* `script=a(b).py`        needs no quotes: a path is never anything but text;
* `cluster.slurm.array=1,3` is one text: sbatch's options are no lists and no sweeps;
* `cluster.hosts=[a[1-4],b slots=2]` keeps the ranges: to the grammar they are lists within lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType

from launcher.config.keys import free_prefix
from launcher.nodes.selection import split
from launcher.runs.command_line import quoted
from launcher.slurm.config import SlurmConfig

SOURCES = ("model", "data")
"""Groups that take a place instead of a name."""
_TEXTS = (
    *("run_id", "script", "storage.root", "resume", "recipe.program"),
    *("cluster.python", "cluster.hostfile", "cluster.head"),
)
_OPTIONS = frozenset(
    f"cluster.slurm.{each.name}" for each in fields(SlurmConfig) if each.type == "str"
)
_BRACKETED = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")
"""Brackets around everything, which may hold more of them one level deep."""
_WRITTEN_IN_GRAMMAR = re.compile(
    r"""['"\\]|\$\{|^\[|^\{|^(choice|range|glob|sort|shuffle|interval)\("""
)


def rewrite(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return the overrides that Hydra is given for what the user typed."""
    return tuple(text for override in overrides for text in _rewrite_one(override))


def _rewrite_one(override: str) -> tuple[str, ...]:
    key, equals, value = override.partition("=")
    if not equals:
        return (override,)
    if key in SOURCES and _names_a_place(value) and not _sweeps(value):
        return (f"{key}=uri", f"{key}.source={_as_text(value)}")
    if key in _EXACT:
        return (f"{key}={_EXACT[key](value)}",)
    if key in _TEXTS and not _sweeps(value):
        return (f"{key}={_as_text(value)}",)
    if free_prefix(key):
        return (f"++{override}",)
    return (override,)


def _names_a_place(value: str) -> bool:
    return "://" in value or value.startswith(("/", "./", "../", "~/"))


def _as_text(value: str) -> str:
    return value if not value or _WRITTEN_IN_GRAMMAR.search(value) else quoted(value)


def _sweeps(value: str) -> bool:
    """A comma outside quotes asks for a sweep; which this is only in `-m`, but never plain text."""
    return "," in value and not _WRITTEN_IN_GRAMMAR.search(value)


def _exact_text(value: str) -> str:
    """Quote an option of sbatch, in which brackets and commas mean something to Slurm alone."""
    return value if not value or re.search(r"""['"\\]|\$\{""", value) else quoted(value)


def _exact_list(value: str) -> str:
    inside = re.fullmatch(r"\[([^\[\]{}'\"\\]*)\]", value)
    if not inside or "${" in value or not inside.group(1).strip():
        return value
    return "[" + ",".join(quoted(part.strip()) for part in inside.group(1).split(",")) + "]"


def _host_list(value: str) -> str:
    """Quote each host of `[a[1,3],b]`; a single one needs no brackets around it."""
    if not value or re.search(r"""['"\\]|\$\{""", value):
        return value
    listed = _BRACKETED.fullmatch(value)
    hosts = [host for host in split(listed.group(1) if listed else value) if host]
    if len(hosts) > 1 and not listed:
        return value  # several values without brackets: a sweep, or a mistake that is told
    return "[" + ",".join(quoted(host) for host in hosts) + "]"


_EXACT: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "args": _exact_list,
        "cluster.slurm.extra": _exact_list,
        **dict.fromkeys(_OPTIONS, _exact_text),
        **dict.fromkeys(
            ("cluster.hosts", "cluster.include", "cluster.exclude", "cluster.spares"), _host_list
        ),
    }
)
