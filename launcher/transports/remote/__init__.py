"""Programs for the nodes: each is one file that needs only the standard library.

They are sent as text, so nothing of ours must be installed on a node, and versions cannot differ.
They must not import the package.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

__all__ = ["bootstrap", "source"]

_NEW_ENOUGH = "sys.version_info >= (3, 11)"
_TOO_OLD = 'sys.exit("Python " + sys.version.split()[0] + " is too old: 3.11 or newer is required")'


@cache
def source(name: str) -> str:
    """Return the text of one of these programs."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")


def bootstrap(program: bytes) -> str:
    """Return code for `python -c` that reads `program` from stdin and runs it.

    In single quotes, it has no character that a login shell would interpret, not even csh.
    """
    return f"import sys; {_NEW_ENOUGH} or {_TOO_OLD}; exec(sys.stdin.buffer.read({len(program)}))"
