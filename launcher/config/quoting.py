"""How a value has to be typed so that it arrives: quoted once for Hydra, once for the shell."""

from __future__ import annotations

import re
import shlex

from hydra.core.override_parser.types import Quote, QuotedString

from launcher.config.keys import all_keys, free_prefix

_QUOTES = "'\""


def as_text(key: str, value: str) -> str:
    """Return the word to type in a shell for `key` to be `value`, letter by letter."""
    # Two kinds of quotes need less escaping than one within itself.
    mark = Quote.single if '"' in value and "'" not in value else Quote.double
    return shlex.quote(f"{key}={QuotedString(text=value, quote=mark).with_quotes()}")


def as_list(key: str, value: str) -> str:
    """Return the word to type in a shell for `key` to be the list of what `value` names."""
    return shlex.quote(f"{key}=[{value}]")


def takes_text(name: str) -> bool:
    """Tell whether a key may be any text; a free one may be anything."""
    key = all_keys().get(name.lstrip("+"))
    if key is None:
        return free_prefix(name.lstrip("+")) is not None
    return key.kind is str


def takes_list(name: str) -> bool:
    """Tell whether a key takes several values; a free one may."""
    key = all_keys().get(name.lstrip("+"))
    if key is None:
        return free_prefix(name.lstrip("+")) is not None
    return isinstance(key.default, tuple | list)


def without_stray_quotes(value: str) -> str:
    """Return `value` without quotes around it, and without one that was opened and not closed."""
    for mark in _QUOTES:
        around = len(value) > 1 and value.startswith(mark) and value.endswith(mark)
        if around:
            return value[1:-1]
        if value.count(mark) == 1 and re.match(f"^{mark}|.*{mark}$", value, re.DOTALL):
            return value.strip(mark)
    return value
