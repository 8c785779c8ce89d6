"""Programs that run on the nodes: each is one file that needs the standard library alone.

They travel as text over stdin, so nothing of ours has to be installed over there, and no version
of it can be the wrong one. They must not import the package.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

__all__ = ["bootstrap", "source"]


@cache
def source(name: str) -> str:
    """Return the text of one of these programs."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")


def bootstrap(program: bytes) -> str:
    """Return what `python -c` has to run, so that it takes `program` from its stdin and runs it.

    It holds nothing that a login shell, even csh, stumbles over once it stands in single quotes.
    """
    return f"import sys; {_NEW_ENOUGH} or {_TELL_AGE}; exec(sys.stdin.buffer.read({len(program)}))"


_NEW_ENOUGH = "sys.version_info >= (3, 11)"
_TELL_AGE = 'sys.exit("Python " + sys.version.split()[0] + " is too old: it takes 3.11 or newer")'
