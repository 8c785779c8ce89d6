"""The line to type instead of one in the style of another tool. Pure.

Users type what torchrun, accelerate, DeepSpeed, horovodrun, mpirun and sbatch accept, followed by
the arguments of their program. The answer is the same command for this launcher, with their words.
There is none if a word is unknown or has two meanings: a wrong line would silently change the run.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from launcher.cli.tools import (
    COUNTS,
    MODULES,
    NEEDLESS_PAIRS,
    NEEDLESS_SWITCHES,
    NEEDLESS_VALUES,
    NO_TOOL,
    TOOLS,
)
from launcher.config.keys import GROUPS, all_keys, free_prefix
from launcher.config.text import in_quotes, items
from launcher.errors import ConfigError
from launcher.nodes.hostfile_syntax import parse as parse_hosts
from launcher.runs.command_line import escaped
from launcher.specs.secrets import names_a_secret

_PROGRAM = "train.py"
"""An example, for the program that the user did not name."""


def line(argv: Sequence[str], verbs: Collection[str], own: Mapping[str, bool]) -> list[str] | None:
    """Return the words to type instead of `argv`, None if nothing is certain.

    `verbs` take a configuration; `own` has our flags, and whether each takes a value.
    """
    reader = _Reader(argv, verbs, own)
    try:
        words = reader.read()
    except _Unsure:
        return None
    return words if words != list(argv) else None


class _Unsure(Exception):
    """A word is unknown, or could mean two things."""


class _Reader:
    """Sorts the words of a command line into verb, flags, overrides, program and its arguments."""

    def __init__(
        self, argv: Sequence[str], verbs: Collection[str], own: Mapping[str, bool]
    ) -> None:
        self._rest = list(argv)
        self._verbs = verbs
        self._own = own
        self._tool = ""
        self._verb: list[str] = []
        self._flags: list[str] = []
        self._overrides: dict[str, str] = {}
        self._args: list[str] = []
        self._ranks = 0
        self._hosts = ""
        """What a flag says; overrides are right as they are."""
        self._recipe = next((word[7:] for word in argv if word.startswith("recipe=")), "")

    def read(self) -> list[str]:
        """Return the whole line, complete enough to run."""
        while self._rest:
            word = self._rest.pop(0)
            if word == "--":
                if not (self._rest and not self._has_program() and _is_start(self._rest[0])):
                    self._take_args(self._rest)
            elif _tool(word) and not self._has_program():
                self._start_tool(_tool(word))
            elif word.startswith("-") and word.strip("-"):
                self._flag(word)
            elif "=" in word or word.startswith(("~", "+")):
                self._override(word)
            else:
                self._word(word)
        self._share_out_ranks()
        return self._words()

    def _words(self) -> list[str]:
        given = self._overrides
        first = {}
        if self._verb in ([], ["run"], ["plan"], ["stage"]) and "recipe" not in given:
            key = "module" if "module" in given else "script"
            first = {"recipe": "script", key: given.get(key, _PROGRAM)}
        if {"cluster.hosts", "cluster.hostfile"} & given.keys() and "cluster" not in given:
            first["cluster"] = "hostfile"
        overrides = [f"{key}={value}" for key, value in {**first, **given}.items()]
        args = [f"args=[{','.join(map(_text, self._args))}]"] if self._args else []
        return [*self._verb, *self._flags, *overrides, *args]

    def _has_program(self) -> bool:
        return bool({"script", "module"} & self._overrides.keys())

    def _take_args(self, words: list[str]) -> None:
        """Give all other words to the program."""
        _require(self._recipe in ("", "script") and self._verb[:1] != ["resume"])
        _require("args" not in self._overrides)
        _require(":" not in words)  # mpirun: another program follows
        self._args += words
        self._rest = []

    def _take_ambiguous_args(self, word: str) -> None:
        """Give the words after `script=` to the program, unless one of them may be for us."""
        words = [word, *self._rest]
        _require(not any(_is_ours(each) or each.partition("=")[0] in self._own for each in words))
        self._take_args(words)

    def _start_tool(self, tool: str) -> None:
        if tool == "accelerate" and self._rest[:1] == ["launch"]:
            del self._rest[0]
        self._tool = tool
        self._overrides = {**TOOLS[tool][1], **self._overrides}

    def _flag(self, word: str) -> None:
        if self._has_program():
            self._take_ambiguous_args(word)
            return
        name, equals, value = word.partition("=")
        bare = name.lstrip("-").replace("-", "_")
        _require(len(bare) > 1 or not name.startswith("--"))
        if name in ("-m", "--module") and self._is_module():
            self._module(self._rest.pop(0))
        elif name in self._own and not self._tool:
            self._own_flag(word)
        elif bare not in NEEDLESS_SWITCHES or equals:
            value = value if equals else self._value()
            if (bare, value) not in NEEDLESS_PAIRS and bare not in NEEDLESS_VALUES:
                self._set(self._key(name.lstrip("-"), bare), value)

    def _own_flag(self, word: str) -> None:
        name, equals, value = word.partition("=")
        self._flags.append(word)
        if self._own[name] and not equals:
            value = self._value()
            self._flags.append(value)
        _require(bool(value) == self._own[name])

    def _is_module(self) -> bool:
        """Return whether this is the `-m` of Python: our own has no values."""
        word = self._rest[0] if self._rest else ""
        is_name = re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", word) is not None
        return is_name and word not in self._verbs

    def _module(self, name: str) -> None:
        _require(name != "launcher")
        if name in MODULES:
            self._start_tool(MODULES[name])
        else:
            self._overrides["module"] = name
            self._take_args(self._rest)

    def _key(self, name: str, bare: str) -> str:
        """Return our key for a flag."""
        if self._tool:
            return TOOLS[self._tool][0].get(bare, "")
        if bare in NO_TOOL:
            return NO_TOOL[bare]
        keys = [key for key in all_keys() if key == name] or (
            [name] if self._recipe and name in GROUPS else []
        )
        if not keys and (self._recipe not in ("", "script") or self._verb[:1] == ["resume"]):
            keys = [key for key in all_keys() if key.endswith(f".{bare}")]
        one = len(keys) == 1
        return keys[0] if one and not (keys[0] in all_keys() and _is_many(keys[0])) else ""

    def _set(self, key: str, value: str) -> None:
        _require(key and value)
        if key == "nodes" and re.fullmatch(r"\d+:\d+", value):  # torchrun: least and most
            least, _, most = value.partition(":")
            self._overrides |= {"nodes": most, "cluster.min_nodes": least}
            return
        if key == "slots" and value == "gpu":  # torchrun
            self._overrides[key] = "auto"
            return
        _require(key not in COUNTS or value.isdecimal())
        if key == "ranks":
            self._ranks = int(value)
            _require(self._ranks)
        elif key == "cluster.hosts":
            self._hosts = value
            self._overrides[key] = f"[{value}]"
        elif key == "env":
            name, equals, value = value.partition("=")
            _require(name.isidentifier() and not names_a_secret(name))
            self._overrides[f"env.{name}"] = _text(value) if equals else f"${{oc.env:{name}}}"
        else:
            self._overrides[key] = _text(value)

    def _override(self, word: str) -> None:
        key, _, value = word.partition("=")
        if not _known(key.lstrip("~+")):
            _require(self._has_program())
            self._take_ambiguous_args(word)
            return
        if not value and self._has_value():  # `nodes= 4`
            value = self._rest.pop(0)
        if key == "args" and any(not _is_ours(each) for each in self._rest):
            try:
                found = None if "${" in value or "\\" in value else items(value)
            except ValueError:
                found = None
            _require(found is not None)
            self._args += found or []
        elif "=" in word:
            self._overrides[key] = value
        else:
            self._flags.append(word)  # `~key`

    def _word(self, word: str) -> None:
        follows = self._rest[0] if self._rest else ""
        if word in self._verbs and not (self._verb or self._tool or self._has_program()):
            self._verb = [word]
        elif self._verb == ["resume"] and not _is_program(word):
            self._verb.append(word)
        elif _known(word) and follows.startswith("="):  # `nodes = 4`, `nodes =4`
            self._rest[0] = word + follows
        elif self._has_program():
            self._take_ambiguous_args(word)
        elif _is_program(word):
            self._overrides["script"] = _text(word)
            self._take_args(self._rest)
        elif _known(word) and not self._tool:  # `nodes 4`
            self._override(f"{word}={self._value()}")
            self._recipe = self._overrides.get("recipe", "")
        else:
            raise _Unsure

    def _has_value(self) -> bool:
        """Return whether the next word can be the value of the flag or key before it."""
        if not self._rest:
            return False
        word = self._rest[0]
        number = re.fullmatch(r"-\.?\d.*", word)
        return (not word.startswith("-") or number is not None) and not (
            _is_start(word) or _is_ours(word)
        )

    def _value(self) -> str:
        _require(self._has_value())
        return self._rest.pop(0)

    def _share_out_ranks(self) -> None:
        """Set the ranks of each node. They must come to the number of all ranks that was given."""
        given, ranks = self._overrides, self._ranks
        if self._hosts:
            self._share_out_hosts()
        elif ranks:
            nodes = given.get("nodes", "")
            _require(not given.keys() & {"cluster.hosts", "cluster.hostfile"})
            _require(nodes or "cluster" not in given)
            self._each_of(int(nodes or 1) if (nodes or "1").isdecimal() else 0)

    def _each_of(self, nodes: int) -> None:
        _require(nodes and self._ranks and self._ranks % nodes == 0)
        slots = str(self._ranks // nodes)
        _require(self._overrides.setdefault("slots", slots) == slots)

    def _share_out_hosts(self) -> None:
        try:
            hosts = parse_hosts(self._hosts, "")
        except ConfigError:
            raise _Unsure from None
        counts = [host.slots or 0 for host in hosts]
        _require("nodes" not in self._overrides)
        _require(len({host.host for host in hosts}) == len(hosts))
        slots = self._overrides.get("slots", "")
        if slots.isdecimal():
            _require(self._ranks in (0, int(slots) * len(hosts)))
        elif not any(counts):
            self._each_of(len(hosts))
        else:
            _require(all(counts) and not slots and self._ranks in (0, sum(counts)))


def _require(certain: object) -> None:
    if not certain:
        raise _Unsure


def _tool(word: str) -> str:
    """Return the tool that a word starts: `python` for `/usr/bin/python3.11`."""
    name = re.sub(r"^python[\d.]*$", "python", Path(word).name)
    return name if name in TOOLS else ""


def _is_start(word: str) -> bool:
    return _is_program(word) or bool(_tool(word))


def _known(key: str) -> bool:
    return key in all_keys() or key in GROUPS or free_prefix(key) is not None


def _is_many(key: str) -> bool:
    return typing.get_origin(all_keys()[key].kind) in (dict, tuple)


def _is_ours(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return bool(equals) and _known(key.lstrip("~+"))


def _is_program(word: str) -> bool:
    return word.endswith(".py") and not word.startswith("-") and "=" not in word


def _text(text: str) -> str:
    """Return `text` as a value, in quotes if Hydra could read it otherwise."""
    return text if re.fullmatch(r"[\w./:=@%+-]+", text) else in_quotes(escaped(text))
