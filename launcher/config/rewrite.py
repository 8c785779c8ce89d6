"""Between what users type and Hydra's grammar: rewrites overrides, and quotes values for hints.

The rewrites:

* `model=hf://org/name`     selects the choice `uri` with that source (also `data=`, and paths);
* `params.depth=3`          adds to a free dict without a `+`;
* `env.H=1_000`             stays as typed, as does every key that holds text: `script=a(b).py`;
* `args=[--lr,1e-4,[0,1]]`  keeps the text of each item, also in `cluster.slurm.extra`;
* `cluster.slurm.array=1,3` is one string: an option of sbatch is never a list;
* `cluster.hosts=a[1-4]`    is a list of one host.

Which keys hold text is read from the schema.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import fields

from launcher import units
from launcher.config import text
from launcher.config.keys import free_prefix, is_list_of_texts, is_named_texts, is_text
from launcher.errors import ConfigError
from launcher.runs.command_line import quoted
from launcher.slurm.config import SlurmConfig

SOURCES = ("model", "data")
"""Groups that accept a path or URI instead of a name."""
_SOURCED = tuple(f"{group}=" for group in SOURCES)
_OPTIONS = frozenset(
    f"cluster.slurm.{each.name}" for each in fields(SlurmConfig) if each.type == "str"
)
_HOSTS = ("cluster.hosts", "cluster.include", "cluster.exclude", "cluster.spares")


def rewrite(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return the overrides for Hydra for what the user typed.

    Raises:
        ConfigError: the quotes or brackets of a text are not closed; the hint shows what to type.
    """
    return tuple(text for override in overrides for text in _rewrite_one(override))


def swept(override: str) -> list[str]:
    """Return the values of an override of a text key, each as typed: more than one are a sweep.

    Raises:
        ConfigError: the quotes or brackets are not closed; the hint shows what to type.
    """
    _, name, value = _parts(override)
    try:
        return _values(name, value)
    except ValueError as error:
        raise unreadable(override, str(error)) from error


def holds_text(override: str) -> bool:
    """Return whether the key of an override holds text, or texts."""
    _, name, _ = _parts(override)
    return is_text(name) or is_list_of_texts(name) or is_named_texts(name)


def _parts(override: str) -> tuple[str, str, str]:
    """Return what is before the name (`++`), the name, and the value."""
    key, _, value = override.partition("=")
    name = key.lstrip("+~")
    return key.removesuffix(name), name, value


def _rewrite_one(override: str) -> tuple[str, ...]:
    prefix, name, value = _parts(override)
    is_free = free_prefix(name) is not None
    if "=" not in override or (prefix in ("+", "~") and not is_free):
        return (override,)  # `overrides` refuses it
    if is_free and not prefix:
        prefix = "++"
    try:
        if override.startswith(_SOURCED) and _is_path_or_uri(value) and not _is_sweep(name, value):
            return (f"{name}=uri", f"{name}.source={_text(name, value)}")
        return (f"{prefix}{name}={_in_grammar(name, value)}",)
    except ValueError as error:
        raise unreadable(override, str(error)) from error


def _is_path_or_uri(value: str) -> bool:
    return "://" in value or value.startswith(("/", "./", "../", "~"))


def _in_grammar(name: str, value: str) -> str:
    if is_text(name):
        return _text(name, value)
    if is_list_of_texts(name):
        return _list(name, value)
    if is_named_texts(name) and value.startswith("{") and value.endswith("}"):
        return _names(value)
    return value


def _text(name: str, value: str) -> str:
    if _is_sweep(name, value):  # `overrides` refuses it, with the value as typed
        return value
    bare = value.strip(text.BLANKS)
    return quoted(text.text_of(bare if bare.startswith(tuple(_QUOTES)) else value))


def _list(name: str, value: str) -> str:
    if _is_sweep(name, value):
        return value
    found = text.items(value)
    if found is None and name in _HOSTS and value and not value.startswith("${"):
        found = [text.text_of(value)]
    if found is None:  # a reference to a list, or an error that OmegaConf finds
        return quoted(value)
    return f"[{','.join(map(quoted, found))}]"


def _names(value: str) -> str:
    pairs = [pair.partition(":") for pair in text.split(value[1:-1]) if pair]
    texts = [f"{name}:{quoted(text.text_of(each.strip(text.BLANKS)))}" for name, _, each in pairs]
    return "{" + ",".join(texts) + "}"


def _is_sweep(name: str, value: str) -> bool:
    return text.is_function(value) or len(_values(name, value)) > 1


def _values(name: str, value: str) -> list[str]:
    is_option = name in _OPTIONS and not text.is_function(value)
    return [value] if is_option else text.values(value)


def unreadable(override: str, reason: str) -> ConfigError:
    """Return the error for an override that does not follow the grammar."""
    return ConfigError(f"cannot read `{override}`", context=reason, hint=_quoting_hint(override))


# Quoting for hints: once for Hydra, once for the shell.
_QUOTES = "'\""


def as_text(key: str, value: str) -> str:
    """Return the word to type in a shell that sets `key` to exactly `value`."""
    return units.shell_word(f"{key}={text.in_quotes(value)}")


def as_list(key: str, value: str) -> str:
    """Return the word to type in a shell that sets `key` to the list of the names in `value`."""
    return units.shell_word(f"{key}=[{value}]")


def takes_text(name: str) -> bool:
    """Return whether a key accepts any string; `params.x` does."""
    name = name.lstrip("+")
    return is_text(name) or free_prefix(name) is not None


def takes_list(name: str) -> bool:
    """Return whether a key accepts a list; `params.x` does."""
    name = name.lstrip("+")
    return is_list_of_texts(name) or (free_prefix(name) is not None and not is_text(name))


def without_stray_quotes(value: str) -> str:
    """Return `value` without the quotes around it, or without a single unmatched quote."""
    for mark in _QUOTES:
        around = len(value) > 1 and value.startswith(mark) and value.endswith(mark)
        if around:
            return value[1:-1]
        if value.count(mark) == 1 and re.match(f"^{mark}|.*{mark}$", value, re.DOTALL):
            return value.strip(mark)
    return value


def _quoting_hint(override: str) -> str:
    key, _, value = override.partition("=")
    bare = without_stray_quotes(value)
    one = f"quote the value, once for Hydra and once for the shell: {as_text(key, bare)}"
    if not bare.startswith(("[", "{")) or not takes_list(key):
        return one
    brackets = "close every bracket and quote, and quote it for the shell"
    if not is_list_of_texts(key):
        one_string = f"; for one string {as_text(key, bare)}" if takes_text(key) else ""
        return f"{brackets}: {as_list(key, 'a,b')}{one_string}"
    items = ",".join(map(text.in_quotes, _likely_items(bare)))
    return f"{brackets}, for example: {as_list(key, items)}"


def _likely_items(value: str) -> list[str]:
    with contextlib.suppress(ValueError):
        return text.items(f"{value}]") or []
    parts = value.removeprefix("[").removesuffix("]").split(",")
    return [without_stray_quotes(part.strip()) for part in parts]
