"""Parses overrides and finds the errors in them before Hydra composes the configuration.

Hydra would find most of them later, but it cannot suggest the right name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from launcher import units
from launcher.config.keys import GROUPS, all_keys, free_prefix, is_named_texts, sections
from launcher.config.rewrite import (
    SOURCES,
    as_list,
    as_text,
    takes_list,
    takes_text,
    unreadable,
)
from launcher.config.text import split
from launcher.errors import ConfigError, UnknownNameError, nearest

_KEY = re.compile(r"[~+]*[A-Za-z_][\w$-]*([./][\w$-]+)*(@[\w.:]*)?", re.ASCII)

Groups = Mapping[str, Sequence[str]]


def parse(texts: Sequence[str]) -> list[Override]:
    """Parse overrides with Hydra's grammar.

    Raises:
        ConfigError: one of them does not follow the grammar; the hint shows it quoted.
    """
    parser = OverridesParser.create()
    return [_parse_one(parser, _without_plus(text)) for text in texts]


def _without_plus(text: str) -> str:
    """Return an override without the `++` that `rewrite` adds: messages show what was typed."""
    key = text.removeprefix("++")
    return key if free_prefix(key.partition("=")[0]) else text


def check(parsed: Sequence[Override], groups: Groups) -> None:
    """Refuse sweeps, unknown keys and unknown choices, each with the nearest valid one."""
    for override in parsed:
        _check_no_sweep(override)
        if override.key_or_group in GROUPS:
            _check_plain(override)
        if override.key_or_group in groups:
            check_choice(override, groups)
        else:
            _check_key(override, groups)


def _check_plain(override: Override) -> None:
    """Refuse to add or move a group that every configuration has."""
    if override.is_add() or override.is_force_add() or override.package is not None:
        group, value = override.key_or_group, str(override.input_line).partition("=")[2]
        raise ConfigError(
            f"`{override.input_line}`: every configuration has the group `{group}` already",
            hint=f"write {units.shell_word(f'{group}={value}')}",
        )


def check_choice(override: Override, groups: Groups) -> None:
    """Refuse a choice that its group does not have."""
    group = override.key_or_group
    value = override.value()
    if override.is_delete():
        return
    if value is None or isinstance(value, list | dict):
        raise ConfigError(
            f"`{override.input_line}`: `{group}` takes one name",
            hint=f"for example `{group}={groups[group][0]}`",
        )
    refuse_unknown_choice(group, str(value), groups)


def refuse_unknown_choice(group: str, choice: str, groups: Groups, *, context: str = "") -> None:
    """Raise unless `choice` is one of the group's."""
    if choice in groups[group]:
        return
    hint = ""
    if group in SOURCES and ("." in choice or "/" in choice):
        hint = f"A path or URI looks like `{group}=./{choice}` or `{group}=hf://...`"
    raise UnknownNameError(group, choice, groups[group], context=context, hint=hint)


def suggest_key(name: str, groups: Groups) -> str | None:
    """Return the key or group nearest to `name`."""
    known = [*all_keys(), *groups]
    tails = [key for key in known if key.endswith(f".{name}")]
    return tails[0] if tails else nearest(name, known) or _nearest_tail(name, known)


def unknown_key(name: str, groups: Groups, *, context: str = "") -> ConfigError:
    """Return the error for a key that does not exist."""
    near = suggest_key(name, groups)
    guess = f"did you mean `{near}`? " if near else ""
    return ConfigError(
        f"unknown key `{name}`",
        context=context,
        hint=f"{guess}`python -m launcher run --help` lists every key; "
        "put values for your own recipes under `params.`",
    )


def _parse_one(parser: OverridesParser, text: str) -> Override:
    if "=" not in text and not text.startswith("~"):
        raise ConfigError(f"expected `key=value`, got `{text}`", hint=_hint_for_word(text))
    if not _KEY.fullmatch(text.partition("=")[0]):
        raise ConfigError(
            f"cannot read `{text.partition('=')[0]}`: it is not a valid key",
            hint="write it as `key=value`, without spaces around `=`",
        )
    try:
        return parser.parse_override(text)
    except HydraException as error:
        raise unreadable(text, _reason(text, str(error).splitlines()[0])) from error


def _reason(text: str, said: str) -> str:
    """Return in our words why Hydra's parser refuses an override."""
    value = text.partition("=")[2]
    if called := re.search(r"while evaluating '(.*?)': (.*)", said):
        return f"`{called.group(1)}`: {called.group(2)[:1].lower()}{called.group(2)[1:]}"
    try:
        split(value)
    except ValueError as error:
        return str(error)
    letter = re.search(r"(?:error at:|input) '(.+?)'(?: expecting|$)", said)
    return f"`{letter.group(1)}` must be in quotes here" if letter else ""


def _hint_for_word(text: str) -> str:
    near = suggest_key(text, {})
    return (
        f"did you mean `{near}=...`?"
        if near
        else "write it as `key=value`, without spaces around `=`"
    )


def _check_no_sweep(override: Override) -> None:
    if not override.is_sweep_override():
        return
    key, _, value = str(override.input_line).partition("=")
    ways = ["to run them one after another, add `-m`"]
    if takes_list(key):
        ways.append(f"for a list, write {as_list(key, value)}")
    if takes_text(key):
        ways.append(f"for one string, write {as_text(key, value)}")
    raise ConfigError(f"`{override.input_line}` names several values", hint="; ".join(ways))


def _check_key(override: Override, groups: Groups) -> None:
    name = override.key_or_group
    if prefix := free_prefix(name):
        if is_named_texts(prefix) and "." in name.removeprefix(f"{prefix}."):
            raise ConfigError(f"`{name}`: a name in `{prefix}` has no dots", hint="use A-Z, 0-9, _")
        return
    if override.is_hydra_override():
        raise ConfigError(
            f"`{override.input_line}` has no effect: Hydra only composes the configuration here",
            hint="`storage.root=` sets where runs are written, `--config-dir` adds config folders",
        )
    key = all_keys().get(name)
    if key is None and name in sections():
        inside = [known for known in all_keys() if known.startswith(f"{name}.")]
        raise ConfigError(
            f"`{override.input_line}`: `{name}` is a section, not a value",
            hint=f"set one of its keys: {', '.join(inside)}",
        )
    if key is None:
        raise unknown_key(name, groups)
    if override.is_delete():
        raise ConfigError(
            f"`{override.input_line}`: a key cannot be deleted", hint=f"set it: `{name}=...`"
        )
    if override.is_add():
        raise ConfigError(
            f"`{override.input_line}`: `{name}` already exists; `+` only adds new keys",
            hint=f"omit the `+`: {units.shell_word(str(override.input_line)[1:])}",
        )


def _nearest_tail(name: str, known: Sequence[str]) -> str | None:
    tails = {key.rpartition(".")[2]: key for key in reversed(known)}
    near = nearest(name.rpartition(".")[2], tails)
    return tails[near] if near else None
