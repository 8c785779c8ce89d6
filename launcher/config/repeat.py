"""Writes overrides again with references in place of their secrets, so that they can be typed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.override_parser.types import QuotedString

from launcher.config.overrides import parse
from launcher.config.rewrite import rewrite
from launcher.runs.command_line import quoted
from launcher.specs.secrets import HIDDEN, PREFIX, hide, names_a_secret, reference, replace_in

_PLAIN = re.compile(r"(?!-*(?:true|false|null|inf|nan)$)-{0,2}[a-z*][\w*./-]*", re.IGNORECASE)
"""What Hydra reads as a string without quotes."""


def repeatable(overrides: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Return overrides that mean the same where the variables with the secrets are exported.

    A secret that is in no variable is masked.
    """
    return [hide(_with_references(text, environ), environ) for text in overrides]


def _with_references(text: str, environ: Mapping[str, str]) -> str:
    override, *more = parse(rewrite([text]))
    if more or override.is_delete() or override.is_sweep_override():
        return text
    value = _plain(override.value())
    # Read as a value: in the text, an escaped quote could end a secret too early.
    replaced = replace_in({override.key_or_group: value}, lambda _, each: _shown(each, environ))
    written = replaced[override.key_or_group]
    return text if written == value else f"{text.partition('=')[0]}={_written(written)}"


def _shown(secret: str, environ: Mapping[str, str]) -> str:
    names = sorted(
        (name for name, value in environ.items() if value == secret and names_a_secret(name)),
        key=lambda name: (name.startswith(PREFIX), name),
    )
    return reference(names[0]) if names else HIDDEN


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.text if isinstance(value, QuotedString) else value


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else quoted(value)
    return "null" if value is None else str(value).lower()
