r"""Text as typed: splits the value of an override into items that keep every character. Pure.

Hydra's grammar gives values a type: `1_000` becomes 1000, and `true` becomes True. For keys that
take text, only these parts of the grammar count: commas and brackets that separate items, quotes
around a whole item, and `\,` for a comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString, Transformer
from hydra.errors import HydraException

BLANKS = " \t\r\n"
"""What may surround an item. Other Unicode spaces are part of it."""
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_FUNCTION = re.compile(r"(choice|range|sort|shuffle|interval|glob|tag)\s*\((.*)\)", re.DOTALL)
"""Hydra's functions that stand for several values, around the whole value."""
_COMMA = re.compile(r"(?<!\\)((?:\\\\)*)\\,")


def split(value: str) -> list[str]:
    """Split at the commas outside of quotes and brackets; blanks around the parts are removed.

    A quote opens only where an item or a value inside it starts: `it's` has none.

    Raises:
        ValueError: a bracket or quote is not closed, or a part is empty; the message says which.
    """
    parts, expected = [""], list[str]()
    for piece in _pieces(value):
        if piece == "," and not expected:
            parts.append("")
            continue
        if piece in _CLOSING:
            expected.append(_CLOSING[piece])
        elif expected and piece == expected[-1]:
            expected.pop()
        elif piece == "]" or (piece in (")", "}") and expected):
            raise ValueError(f"unexpected `{piece}`")
        parts[-1] += piece
    if expected:
        raise ValueError(f"expected a closing `{expected[-1]}`")
    parts = [part.strip(BLANKS) for part in parts]
    if len(parts) > 1 and "" in parts:
        raise ValueError("an item is empty: write '' for an empty text")
    return parts


def _pieces(value: str) -> Iterator[str]:
    """Yield quoted strings, letters after a backslash, and all other letters."""
    place = 0
    while place < len(value):
        piece = value[place]
        if piece == "\\":
            piece = value[place : place + 2]
        elif piece in "'\"":
            piece = _quoted_at(value, place) or piece
        yield piece
        place += len(piece)


def _quoted_at(value: str, place: int) -> str:
    """Return the quoted string that starts at `place`; empty if this quote is an apostrophe."""
    quoted = _QUOTED.match(value, place)
    before = value[:place].rstrip(BLANKS)
    if not before or before[-1] in ",=:[({":
        if not quoted:
            raise ValueError(f"expected a closing {value[place]}")
        return quoted[0]
    if quoted and "," in quoted[0] and len(before) < place:
        raise ValueError(f"unclear whether the comma in {quoted[0]} separates items")
    return ""


def items(value: str) -> list[str] | None:
    """Return the text of each item of `[a,b]`; None if brackets do not enclose the whole value.

    Raises:
        ValueError: as for `split`.
    """
    if not (value.startswith("[") and value.endswith("]") and len(split(value)) == 1):
        return None
    return [text_of(part) for part in split(value[1:-1])] if value[1:-1].strip(BLANKS) else []


def text_of(item: str) -> str:
    """Return the text that an item means: as typed, or what the quotes around all of it enclose.

    Raises:
        ValueError: there is something after the closing quote.
    """
    if item[:1] not in ("'", '"'):
        return _COMMA.sub(r"\1,", item)
    if not _QUOTED.fullmatch(item):
        raise ValueError(f"the quotes do not enclose all of {item}")
    value = OverridesParser.create().parse_override(f"text={item}").value()
    assert isinstance(value, str)
    return value


def in_quotes(text: str) -> str:
    """Return `text` as a quoted string of Hydra's grammar, if possible without escapes."""
    mark = Quote.single if '"' in text and "'" not in text else Quote.double
    return QuotedString(text=text, quote=mark).with_quotes()


def values(value: str) -> list[str]:
    """Return the values that a text key gets, each as typed: more than one are a sweep.

    Raises:
        ValueError: as for `split`, or several values come from a function that changes text.
    """
    match = _FUNCTION.fullmatch(value)
    if match:
        return _values_of(*match.groups())
    try:
        parts = split(value)
    except ValueError:
        if "," in value:  # it is unclear whether this comma separates
            raise
        return [value]
    return parts if len(parts) > 1 else [value]


def _values_of(name: str, inside: str) -> list[str]:
    if name == "choice":
        return split(inside) if inside.strip(BLANKS) else []
    if name != "range":
        raise ValueError(f"`{name}()` does not keep text: use `a,b`, choice() or range()")
    try:
        sweep = OverridesParser.create().parse_override(f"number=range({inside})")
    except HydraException as error:
        raise ValueError("expected numbers, for example range(1,4)") from error
    return [str(each) for each in sweep.sweep_iterator(Transformer.identity)]


def is_function(value: str) -> bool:
    """Return whether a function of Hydra that stands for several values encloses the value."""
    return _FUNCTION.fullmatch(value) is not None
