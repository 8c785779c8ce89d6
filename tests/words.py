"""The words that our texts avoid, each with what to write instead.

    python tests/words.py FILE...     # prints FILE:LINE for each, exit code 1 if there are any

In Python, only comments and strings count; in other files, everything.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WORDS = {
    r"mend(s|ed|ing)?": "fix",
    r"(leav(e|es|ing)|left)\s+(\S+\s+){0,3}away": "omit; by default",
    r"(?P<fine>there\s+)?(is|are|was|were)\s+no\b(?!\s+(longer|more|less|fewer|later|earlier)\b)": (
        "is not a ...; expected ..."
    ),
    r"(is|are|was|were|be)\s+wanted": "expected; is required",
    r"told|tells": "reports, prints, says, returns",
    r"somebody|nobody|whoever": "name it: another process, another user, no rank",
    r"go(es|ing|ne)?\s+on|went\s+on": "resume; continue",
    r"st(ands?|anding|ood)\s+(in(?!\s+the\s+way\b)|there)": "is in; contains",
    r"troubles?": "problem",
    r"at\s+once": "together; immediately",
    r"one\s+by\s+one(\s+in\s+turn)?": "one at a time",
    r"what\s+broke\s+first": "root cause; first failure",
    r"of\s+course|likewise|as\s+it\s+were": "(delete it)",
    r"slips?": "typo",
    r"wants?\s+to\s+be\s+started\s+again": "preempted: checkpoint saved, requeue",
    r"starting\s+again\s+cannot": "restarting will not help",
    r"needed\s+(is|are)": "requires; requirements:",
    r"turn(s|ed)?\s+\w+\s+away": "reject; refuse",
}
"""Pattern of a whole word or phrase -> what to write instead. A match with `fine` in it is fine."""

RENAMED = {
    r"meetings?": "rendezvous",
    r"keepers?": "node agent",
    r"capsules?(?!\.json)": "code snapshot",
    r"surveys?": "probe; node facts",
    r"witness(es)?|testimon(y|ies)": "exit record; evidence",
    r"obituar(y|ies)": "exit record",
    r"letterbox(es)?": "rsh agent; launch requests",
    r"errands?": "one-shot call",
    r"switchboards?": "poller",
}
"""Our own old names for what the field has a word for."""

_PATTERNS = [
    (re.compile(rf"(?<![\w.-])(?:{pattern})(?![\w-])", re.IGNORECASE), instead)
    for pattern, instead in {**WORDS, **RENAMED}.items()
]
_CODE = "\0"
_STRINGS = {
    getattr(tokenize, name, tokenize.STRING)  # those of f-strings came with Python 3.12
    for name in ("STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
}
_LAYOUT = {tokenize.NL, tokenize.INDENT, tokenize.DEDENT}
_QUOTES = re.compile(r"^[a-zA-Z]{0,2}(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$")
_FIELD = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A word to avoid, where it is, and what to write instead."""

    file: Path
    line: int
    words: str
    instead: str

    def __str__(self) -> str:
        """Return one line for people and editors."""
        return f"{self.file}:{self.line}: `{self.words}`: write {self.instead}"


def find(file: Path) -> list[Hit]:
    """Return the words to avoid in `file`, from top to bottom."""
    source = file.read_text(encoding="utf-8")
    text = prose(file.suffix, source)
    hits = [
        Hit(
            file=file,
            line=text.count("\n", 0, match.start()) + 1,
            words=" ".join(source[match.start() : match.end()].split()),
            instead=instead,
        )
        for pattern, instead in _PATTERNS
        for match in pattern.finditer(text)
        if not match.groupdict().get("fine")
    ]
    return sorted(hits, key=lambda hit: hit.line)


def prose(suffix: str, source: str) -> str:
    """Return `source` with all but its prose blanked; lines keep their numbers.

    What continues on the next line stays one text: the marks in between become spaces.
    """
    if suffix == ".py":
        return _python_prose(source)
    if suffix == ".md":
        return source
    return re.sub(r"^(\s*)#", r"\1 ", source, flags=re.MULTILINE)


def _python_prose(source: str) -> str:
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    text = [char if char == "\n" else _CODE for char in source]
    last_kind, last_end = -1, 0
    for token in _tokens(source):
        kind = tokenize.STRING if token.type in _STRINGS else token.type
        start, end = (starts[line - 1] + column for line, column in (token.start, token.end))
        if kind in (tokenize.STRING, tokenize.COMMENT):
            text[start:end] = _visible(token, source[start:end])
            if kind == last_kind:
                text[last_end:start] = re.sub(r"[^\n]", " ", source[last_end:start])
        last_kind, last_end = kind, end
    return "".join(text)


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return (token for token in tokens if token.type not in _LAYOUT)


def _visible(token: tokenize.TokenInfo, text: str) -> str:
    """Blank the marks around a comment or string, and the fields of an f-string."""
    if token.type == tokenize.COMMENT:
        return text.replace("#", " ", 1)
    bare = _QUOTES.sub(lambda match: " " * len(match[0]), text)
    if "f" in text[: text.find(text.rstrip()[-1])].lower():
        bare = _FIELD.sub(lambda match: re.sub(r"[^\n]", _CODE, match[0]), bare)
    return bare


def main(files: list[str]) -> int:
    """Print the words to avoid in `files`; return the exit code."""
    hits = [hit for file in files for hit in find(Path(file))]
    for hit in hits:
        print(hit)
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
