"""Where the secrets are in a text, in a list of arguments, or in a tree of values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher.specs.secret_kinds import (
    SHAPES,
    is_plural,
    is_secret,
    looks_random,
    may_be_secret,
    names_a_password,
)

__all__ = ["PARAMETER", "REFERENCE", "Span", "find", "replace_in", "substitute"]

PARAMETER = (
    r"(?:[\w.-]{0,99}(?:token|secret|password|passwd|signature|credential|api[_-]?key|access[_-]?key|auth)"
    r"[\w.-]{0,99}|sig|x-(?:amz|goog)-[\w-]+|"
    ""
    # not `?key=users`
    r"""key(?==(?=[^&;#\s'"]*\d)[^&;#\s'"]{8}))"""
)
"""Names of parameters in the query of a URL."""
REFERENCE = re.compile(r"\*\*\*([A-Za-z_]\w*?)\*\*\*")
"""What replaces the value of a variable."""
_USER = "user"

# Where secrets are in a text: what precedes one, with its name, and the value itself.
_NAME = r"(?P<name>[A-Za-z][\w.-]{0,99})"
_QUOTE = r"""(?:'"'"'|\\?["'])"""
"""A quote, also in a text that was quoted for a shell or for Hydra."""
_QUOTED = rf"""(?P<q>{_QUOTE})(?P<value>.*?)(?<!\\)(?P=q)"""
_DASHED = r"""-(?=[A-Za-z]*\d)[^\s'",\]=-][^\s'",\]=]{5,}"""
"""A password that starts like an option: `--password -hunter2A`."""
_LIST = r"(?P<value>\[[^\[\]\n]+\])"
_MORE = re.compile(
    r"""(?:(?<!\])\\?["']?,[ \t]*\\?["']?"""
    r"""[^\s'",\]})\\:=-](?:(?!\\?["']?\s*[:=])[^\s'",\]})\\])*(?!\\?["']?\s*[:=]|\w))*"""
)
"""Further values of a plural: `--api_keys,A,B`."""
_NAMED = tuple(
    (re.compile(before, re.MULTILINE), re.compile(value, re.MULTILINE))
    for before, value in (
        # name=value, --name=value, name="value", name = "value"
        (rf"(?<![\w.]){_NAME}=", r"""(?P<value>\[[^\[\]\n]*\]|(?:\\["']|[^\s&;,'"\]})])+)"""),
        (rf"(?<![\w.]){_NAME}[ \t]*=[ \t]*", _QUOTED),
        # {"name": "value"}, {name:value}, and lines of YAML
        (rf"""(?P<p>{_QUOTE}){_NAME}(?P=p)\s*:\s*""", _QUOTED),
        (rf"""(?P<p>{_QUOTE}){_NAME}(?P=p)\s*:\s*""", _LIST),
        (rf"(?<=[{{,])\s*{_NAME}:\s*", _LIST),
        (rf"(?<=[{{,])\s*{_NAME}:\s*", r"""(?P<value>[^\s,'"{}\[\]]+)"""),
        (rf"^[ \t+-]*{_NAME}[ \t]*:[ \t]*", r"""(?P<q>["']?)(?P<value>\S.*?)(?P=q)[ \t]*$"""),
        # --name value, [--name,value], ['--name', 'value']
        (rf"""(?<![\w-])--?{_NAME}{_QUOTE}?(?:,[ \t]*|[ \t]+)""", _QUOTED),
        (
            rf"""(?<![\w-])--?{_NAME}["']?(?:,[ \t]*|[ \t]+)["']?""",
            rf"""(?P<value>{_DASHED}|[^\s'",\]-][^\s'",\]]*)""",
        ),
    )
)
# The group `value` is a secret whatever its name.
_ANYWHERE = (
    (_USER, re.compile(r"https?://(?P<value>[^/@:\s'\"]+)@")),
    ("password", re.compile(r"://[^/@\s:'\"]*:(?P<value>[^/\s'\"]+)@")),
    ("signature", re.compile(rf"[?&;]{PARAMETER}=(?P<value>[^&;#\s'\"]+)", re.IGNORECASE)),
    (
        "authorization",  # https://www.rfc-editor.org/rfc/rfc6750, rfc7617
        re.compile(
            r"\b(?:authorization[\"']?\s*[:=]\s*[\"']?(?:\w+ +)?|bearer +(?=[\w.~+/-]*\d))"
            r"(?P<value>[\w.~+/-]{8,}=*)",
            re.IGNORECASE,
        ),
    ),
    (
        "private_key",  # https://www.rfc-editor.org/rfc/rfc7468
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?P<value>.*?)(?:-----END|\Z)", re.DOTALL),
    ),
    *((label, re.compile(rf"(?<![A-Za-z0-9_])(?P<value>{pattern})")) for label, pattern in SHAPES),
)
_OPTION = re.compile(r"--?([A-Za-z][\w.-]*)(=.*)?", re.DOTALL)
_ASSIGNED = re.compile(r"(?P<key>[-+~]*(?P<name>[A-Za-z][\w.-]*)=)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Span:
    """One secret in a text."""

    start: int
    end: int
    label: str
    """What it is called, or its kind."""


def find(text: str) -> list[Span]:
    """Return the secrets in `text` in their order, by name and by shape. They do not overlap."""
    spans: list[Span] = []
    for span in sorted(_all(text), key=lambda each: (each.start, -each.end)):
        if not spans or span.start >= spans[-1].end:
            spans.append(span)
        elif span.end > spans[-1].end:
            spans[-1] = replace(spans[-1], end=span.end)
    return spans


def _all(text: str) -> Iterator[Span]:
    for before, value in _NAMED:
        end = 0
        for place in before.finditer(text):
            name = place["name"]
            is_new = place.end() >= end and may_be_secret(name)
            match = value.match(text, place.end()) if is_new else None
            if match and is_secret(name, match["value"]):
                span, more = _span(match, name), _MORE.match(text, match.end("value"))
                span = replace(span, end=more.end()) if more and is_plural(name) else span
                end = span.end  # what is in it is hidden already
                yield span
    for label, pattern in _ANYWHERE:
        for match in pattern.finditer(text):
            # `https://TOKEN@host`, but not `https://me@host`
            certain = label != _USER or looks_random(match["value"])
            if certain and not REFERENCE.fullmatch(match["value"]):
                yield _span(match, label)


def _span(match: re.Match[str], label: str) -> Span:
    return Span(start=match.start("value"), end=match.end("value"), label=label)


def substitute(text: str, spans: Iterable[Span], change: Callable[[str, str], str]) -> str:
    """Return `text` with `change(label, secret)` in place of each of `spans`."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], change(span.label, text[span.start : span.end])]
        at = span.end
    return "".join([*parts, text[at:]])


def replace_in(value: Any, change: Callable[[str, str], str], name: str = "") -> Any:
    """Return a tree of dicts, lists and texts with `change(label, secret)` for each secret.

    Lists are read as arguments: `--password X` in two items, `--password=X` in one. `name` is the
    key that the value belongs to.
    """
    if isinstance(value, Mapping):
        return {key: replace_in(item, change, _below(name, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(_replaced(value, change, name))
    return _replace_in_text(value, change, name) if isinstance(value, str) else value


def _replaced(items: Iterable[Any], change: Callable[[str, str], str], name: str) -> Iterator[Any]:
    """Replace in arguments: those after an option belong to it, or only the first of them."""
    belongs_to_all = bool(name)
    for item in items:
        option = _OPTION.fullmatch(item) if isinstance(item, str) else None
        if option and not (names_a_password(name) and re.fullmatch(_DASHED, item)):
            name = "" if option[2] else option[1]
            belongs_to_all = is_plural(name)
            yield replace_in(item, change)
        else:
            yield replace_in(item, change, name)
            name = name if belongs_to_all else ""


def _below(name: str, key: object) -> str:
    """Return the name of a value; `key` alone says nothing: `wandb.key`."""
    return f"{name}.{key}" if name and str(key) in ("key", "keys") else str(key)


def _replace_in_text(value: str, change: Callable[[str, str], str], name: str) -> str:
    if is_secret(name, value):
        return change(name, value)
    assigned = _ASSIGNED.fullmatch(value)
    if assigned and is_secret(assigned["name"], assigned["value"]):
        return assigned["key"] + change(assigned["name"], assigned["value"])
    if assigned and _ASSIGNED.fullmatch(assigned["value"]):
        return assigned["key"] + _replace_in_text(assigned["value"], change, "")
    return substitute(value, find(value), change)
