"""Between what users type and Hydra's grammar: rewrites overrides, and quotes values for hints.

Text that already follows the grammar stays as it is. The rewrites:

* `model=hf://org/name`     selects the choice `uri` with that source (also `data=`, and paths);
* `params.depth=3`          adds to a free dict without a `+`;
* `args=[--lr,1e-4]`        keeps the strings as typed; the grammar would turn `1e-4` into a number;
* `run_id=1e5`              stays a string, too;
* `script=a(b).py`          needs no quotes, because a path is always a string;
* `cluster.slurm.array=1,3` is one string: an option of sbatch is never a list or a sweep;
* `cluster.hosts=[a[1-4],b slots=2]` keeps its ranges; the grammar would read nested lists.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType

from hydra.core.override_parser.types import Quote, QuotedString

from launcher.config.keys import all_keys, free_prefix
from launcher.runs.command_line import quoted
from launcher.slurm.config import SlurmConfig
from launcher.specs.hostlist import split

SOURCES = ("model", "data")
"""Groups that accept a path or URI instead of a name."""
_TEXTS = (
    *("run_id", "script", "module", "storage.root", "resume", "recipe.program"),
    *("cluster.python", "cluster.hostfile", "cluster.head"),
)
_OPTIONS = frozenset(
    f"cluster.slurm.{each.name}" for each in fields(SlurmConfig) if each.type == "str"
)
_BRACKETED = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")
"""Brackets around the whole value; there may be one more level inside."""
_FOLLOWS_GRAMMAR = re.compile(
    r"""['"\\]|\$\{|^\[|^\{|^(choice|range|glob|sort|shuffle|interval)\("""
)


def rewrite(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return the overrides for Hydra for what the user typed."""
    return tuple(text for override in overrides for text in _rewrite_one(override))


def _rewrite_one(override: str) -> tuple[str, ...]:
    key, equals, value = override.partition("=")
    if not equals:
        return (override,)
    if key in SOURCES and _is_path_or_uri(value) and not _sweeps(value):
        return (f"{key}=uri", f"{key}.source={_as_text(value)}")
    if key in _EXACT:
        return (f"{key}={_EXACT[key](value)}",)
    if key in _TEXTS and not _sweeps(value):
        return (f"{key}={_as_text(value)}",)
    if free_prefix(key):
        return (f"++{override}",)
    return (override,)


def _is_path_or_uri(value: str) -> bool:
    return "://" in value or value.startswith(("/", "./", "../", "~/"))


def _as_text(value: str) -> str:
    return value if not value or _FOLLOWS_GRAMMAR.search(value) else quoted(value)


def _sweeps(value: str) -> bool:
    """A comma outside quotes makes a sweep. Without `-m` that is an error, but never plain text."""
    return "," in value and not _FOLLOWS_GRAMMAR.search(value)


def _exact_text(value: str) -> str:
    """Quote an option of sbatch: its brackets and commas are for Slurm."""
    return value if not value or re.search(r"""['"\\]|\$\{""", value) else quoted(value)


def _exact_list(value: str) -> str:
    inside = re.fullmatch(r"\[([^\[\]{}'\"\\]*)\]", value)
    if not inside or "${" in value or not inside.group(1).strip():
        return value
    return "[" + ",".join(quoted(part.strip()) for part in inside.group(1).split(",")) + "]"


def _host_list(value: str) -> str:
    """Quote each host of `[a[1,3],b]`; a single host may come without the outer brackets."""
    if not value or re.search(r"""['"\\]|\$\{""", value):
        return value
    listed = _BRACKETED.fullmatch(value)
    hosts = [host for host in split(listed.group(1) if listed else value) if host]
    if len(hosts) > 1 and not listed:
        return value  # several values without brackets: a sweep, or an error reported later
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


# Quoting for hints: once for Hydra, once for the shell.
_QUOTES = "'\""


def as_text(key: str, value: str) -> str:
    """Return the word to type in a shell that sets `key` to exactly `value`."""
    # Using the other kind of quotes avoids escapes.
    mark = Quote.single if '"' in value and "'" not in value else Quote.double
    return shlex.quote(f"{key}={QuotedString(text=value, quote=mark).with_quotes()}")


def as_list(key: str, value: str) -> str:
    """Return the word to type in a shell that sets `key` to the list of the names in `value`."""
    return shlex.quote(f"{key}=[{value}]")


def takes_text(name: str) -> bool:
    """Return whether a key accepts any string; a free key does."""
    key = all_keys().get(name.lstrip("+"))
    if key is None:
        return free_prefix(name.lstrip("+")) is not None
    return key.kind is str


def takes_list(name: str) -> bool:
    """Return whether a key accepts a list; a free key does."""
    key = all_keys().get(name.lstrip("+"))
    if key is None:
        return free_prefix(name.lstrip("+")) is not None
    return isinstance(key.default, tuple | list)


def without_stray_quotes(value: str) -> str:
    """Return `value` without the quotes around it, or without a single unmatched quote."""
    for mark in _QUOTES:
        around = len(value) > 1 and value.startswith(mark) and value.endswith(mark)
        if around:
            return value[1:-1]
        if value.count(mark) == 1 and re.match(f"^{mark}|.*{mark}$", value, re.DOTALL):
            return value.strip(mark)
    return value
