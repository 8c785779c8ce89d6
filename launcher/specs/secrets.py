"""Secrets, which must never be shown or stored: how to find, hide and pass them on.

In a configuration, a plan or an argv, a reference `***NAME***` replaces a secret. The value itself
is in the environment variable NAME, from where the rank takes it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from launcher.errors import ConfigError
from launcher.specs.secret_kinds import is_distinctive, looks_random, names_a_secret
from launcher.specs.secret_spans import PARAMETER, REFERENCE, find, replace_in, substitute

__all__ = [
    "HIDDEN",
    "PREFIX",
    "RUN_SECRET",
    "find",
    "hide",
    "hide_in",
    "known",
    "mask",
    "names_a_secret",
    "redact",
    "reference",
    "references",
    "replace_in",
    "reveal",
    "without_references",
    "without_secrets",
]

D = TypeVar("D")

HIDDEN = "***"
PREFIX = "LAUNCHER_SECRET_"
"""Start of the variables that the launcher sets for secrets that no exported variable has."""

RUN_SECRET = "LAUNCHER_RUN_SECRET"  # noqa: S105 - a name
"""Variable with the secret of an attempt: its ranks trust only messages that are sealed with it."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s'\"<>`]*[^\s'\"<>`:,.)]")
_USER = re.compile(r"(?<=://)(?![^/@\s]*\*{3})[^/@\s]+@")
_SECRET_QUERY = re.compile(rf"([?&;]{PARAMETER}=)(?!\*{{3}})[^&;#\s]*", re.IGNORECASE)

_WRITTEN: tuple[Callable[[str], str], ...] = (
    lambda text: repr(text)[1:-1],
    lambda text: repr(f'"{text}')[2:-1],  # in a text that has the other quote
    lambda text: ascii(text)[1:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: re.sub(r"(\\*)'", r"\1\1\\'", text),  # Hydra
    lambda text: re.sub(r'(\\*)"', r'\1\1\\"', text),  # Hydra
    lambda text: text.replace("'", "'\"'\"'"),  # shlex
    lambda text: text.replace("'", "'\\''"),
)
"""How a value looks in quotes."""


def hide(text: str, environ: Mapping[str, str]) -> str:
    """Return `text` with all secrets masked: those in `environ`, and what looks like one."""
    for name, value in known(environ):
        for form in _forms(value):
            if form in text:
                whole = rf"(?:(?<!\w)|(?<=\\[abfnrtv])){re.escape(form)}(?!\w)"
                text = re.sub(whole, reference(name), text)
    text = redact(text)
    return substitute(text, find(text), lambda label, secret: HIDDEN)


@functools.cache
def _forms(value: str) -> tuple[str, ...]:
    """Return how `value` and its lines may be written, also in quotes in quotes; longest first."""
    forms = {value, *filter(is_distinctive, map(str.strip, value.splitlines()))}
    for _ in range(2):
        forms |= {write(form) for form in forms for write in _WRITTEN}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def hide_in(value: D, environ: Mapping[str, str]) -> D:
    """Return a dataclass with the secrets in its texts masked, before it is stored or shown."""
    changes: dict[str, Any] = {}
    instance = cast("Any", value)
    for field in dataclasses.fields(instance):
        item = getattr(value, field.name)
        if type(item) is str:
            changes[field.name] = hide(item, environ)
        elif isinstance(item, tuple) and all(type(each) is str for each in item):
            changes[field.name] = tuple(hide(each, environ) for each in item)
    return cast("D", dataclasses.replace(instance, **changes))


def known(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return names and values of the secrets in `environ`, the longest first."""
    found = [
        (name, value)
        for name, value in environ.items()
        if (name.startswith(PREFIX) and is_distinctive(value))
        or (names_a_secret(name) and looks_random(value))
    ]
    return sorted(found, key=lambda each: (-len(each[1]), each[0].startswith(PREFIX), each[0]))


# References: what replaces a secret wherever it would be stored.


def reference(variable: str) -> str:
    """Return what replaces the value of `variable`."""
    return f"{HIDDEN}{variable}{HIDDEN}"


def without_references(value: Any) -> Any:
    """Return the tree with the same mask for all secrets."""
    return _map_texts(value, lambda text: REFERENCE.sub(HIDDEN, text))


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _map_texts(item, change) for key, item in value.items()}
    return [_map_texts(item, change) for item in value] if isinstance(value, list) else value


def references(value: Any) -> set[str]:
    """Return the variables that a tree of dicts, lists and texts refers to."""
    if isinstance(value, str):
        return {name for name in REFERENCE.findall(value) if names_a_secret(name)}
    if isinstance(value, Mapping):
        return set().union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list | tuple) else set()


def reveal(value: Any, environ: Mapping[str, str]) -> Any:
    """Return the tree with the values of the variables in place of their references.

    Raises:
        ConfigError: a variable is not set. A program never gets a reference instead of a secret.
    """
    return _map_texts(value, lambda text: REFERENCE.sub(lambda match: _value(match, environ), text))


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    name = match[1]
    if not names_a_secret(name):
        return match[0]
    if not environ.get(name):
        raise ConfigError(
            f"the secret {name} is not set", hint=f"export {name}, then repeat the command"
        )
    return environ[name]


# Secrets in URIs and in variables.


def redact(text: str) -> str:
    """Return `text` with user names, passwords, tokens and signatures in its URLs masked."""
    return _URL.sub(lambda match: _mask(match.group(), HIDDEN), text)


def without_secrets(uri: str) -> str:
    """Return `uri` without credentials: the same text for every user and token."""
    return _mask(uri, "")


def mask(env: Mapping[str, str]) -> dict[str, str]:
    """Return `env` with the values of secrets, and the secrets in other values, masked."""
    return {
        name: HIDDEN if names_a_secret(name) else hide(value, {}) for name, value in env.items()
    }


def _mask(url: str, mask: str) -> str:
    user = f"{mask}@" if mask else ""
    return _SECRET_QUERY.sub(rf"\g<1>{mask}", _USER.sub(user, url, count=1))
