"""Every key of the command line: its type, default and help text."""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import inspect
import itertools
import sys
import types
import typing
from dataclasses import dataclass
from typing import Any

from launcher.config.schema import LaunchConfig

GROUPS = ("recipe", "model", "data", "cluster", "backend")
"""The groups of every configuration, in the order of the help."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key, as typed before an `=`."""

    name: str
    """Dotted, as typed."""
    kind: Any
    """Its annotation."""
    default: Any
    help: str

    @property
    def is_free(self) -> bool:
        """True for a dict to which the user adds names."""
        return typing.get_origin(self.kind) is dict

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values, if they can be listed."""
        if isinstance(self.kind, type) and issubclass(self.kind, enum.Enum):
            return tuple(str(member) for member in self.kind)
        return ("true", "false") if self.kind is bool else ()

    @property
    def expects(self) -> str:
        """The expected value, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return _WORDS.get(
            str(self.kind), _WORDS.get(getattr(self.kind, "__name__", ""), "a string")
        )


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "int | str": "a whole number, or auto",
    "bool | str": "true, false or auto",
    "tuple": "a list in brackets, [a,b]",
    "tuple[str, ...]": "a list in brackets, [a,b]",
    "dict": "names and values",
}


@functools.cache
def all_keys() -> dict[str, Key]:
    """Return every leaf key in the order of the schema."""
    return {key.name: key for key in _walk(LaunchConfig, "")}


@functools.cache
def sections() -> dict[str, str]:
    """Return the name and help of each section: `train`, `checkpoint` ..."""
    helps = field_docs(LaunchConfig)
    hints = typing.get_type_hints(LaunchConfig)
    return {
        field.name: helps.get(field.name, "")
        for field in dataclasses.fields(LaunchConfig)
        if dataclasses.is_dataclass(hints[field.name])
    }


def is_text(name: str) -> bool:
    """Return whether a key holds one text, whatever it looks like: `script`, `env.X`."""
    key = all_keys().get(name)
    if key is None:
        return is_named_texts(free_prefix(name) or "")
    return key.kind is str


def is_list_of_texts(name: str) -> bool:
    """Return whether a key holds a list of texts: `args`."""
    return name in all_keys() and typing.get_args(all_keys()[name].kind) == (str, ...)


def is_named_texts(name: str) -> bool:
    """Return whether a key holds texts under names that the user chooses: `env`."""
    return name in all_keys() and typing.get_args(all_keys()[name].kind) == (str, str)


def free_prefix(name: str) -> str | None:
    """Return the free key that contains `name` (`params` for `params.depth`), else None."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        key = all_keys().get(".".join(parts[:length]))
        if key is not None and key.is_free:
            return key.name
    return None


def field_docs(cls: type) -> dict[str, str]:
    """Return field name -> the docstring below it in the source."""
    body = _class_bodies(cls.__module__)[cls.__name__]
    docs = {}
    for before, after in itertools.pairwise(body):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            text = _docstring(after)
            if text:
                docs[before.target.id] = text
    return docs


@functools.cache
def _class_bodies(module: str) -> dict[str, list[ast.stmt]]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}


def _docstring(node: ast.stmt) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def _walk(cls: type, prefix: str) -> typing.Iterator[Key]:
    hints = typing.get_type_hints(cls)
    helps = field_docs(cls)
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        name = prefix + field.name
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from _walk(kind, f"{name}.")
        else:
            yield Key(name=name, kind=kind, default=_default(field), help=helps.get(field.name, ""))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    factory = field.default_factory
    return factory() if isinstance(factory, types.FunctionType | type) else None
