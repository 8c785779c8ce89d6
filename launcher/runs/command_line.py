"""The commands that messages offer, as the user has to type them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from launcher import units
from launcher.specs import RunLayout

_NEEDS_QUOTES = re.compile(r"""['"\\,]|\$\{""")


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """How the user calls the launcher."""

    program: tuple[str, ...]
    """`launcher`, or `python -m launcher`."""
    default_root: str
    """The storage root of a command that names none. Empty: every command names its root."""

    def line(self, *words: str) -> str:
        """Return a command as one shell line."""
        return units.shell_line((*self.program, *words))

    def of_run(self, layout: RunLayout, *verb: str, options: Sequence[str] = ()) -> str:
        """Return the command that does `verb` with a run, and names its storage root if needed."""
        root = str(layout.path.absolute().parent.parent)
        where = () if root == self.default_root else (f"storage.root={_value(root)}",)
        return self.line(*verb, layout.run_id, *where, *options)


ANYWHERE = CommandLine(program=("python", "-m", "launcher"), default_root="")
"""Right for every caller, in every folder."""


def _value(text: str) -> str:
    """Return `text` as the value of an override: plain where Hydra reads it as it is."""
    return quoted(escaped(text)) if _NEEDS_QUOTES.search(text) else text


def escaped(text: str) -> str:
    """Return `text` for OmegaConf, which must not read `${` in it as a reference."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def quoted(text: str) -> str:
    """Return `text` as a string of Hydra's grammar."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    trailing = re.search(r"\\+$", escaped)
    return f"'{escaped}{trailing.group() if trailing else ''}'"
