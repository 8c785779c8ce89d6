"""Programs for the nodes: each is one file that needs only the standard library.

They are sent as text, so nothing of ours must be installed on a node, and versions cannot differ.
They must not import the package.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

__all__ = ["HELLO", "agent_bootstrap", "bootstrap", "source"]

HELLO = b"hello from the node agent"
"""The first line of a node agent. Nothing is sent to a node before it."""

_NEW_ENOUGH = "sys.version_info >= (3, 11)"
_TOO_OLD = 'sys.exit("Python " + sys.version.split()[0] + " is too old: 3.11 or newer is required")'
_NO_INPUT = 'sys.exit("its standard input is closed")'


@cache
def source(name: str) -> str:
    """Return the text of one of these programs."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")


def bootstrap(program: bytes) -> str:
    """Return code for `python -c` that reads `program` from stdin and runs it."""
    return f"import sys; {_NEW_ENOUGH} or {_TOO_OLD}; exec(sys.stdin.buffer.read({len(program)}))"


def agent_bootstrap(program: bytes) -> str:
    """Return the same for a program that a login shell starts: it says `HELLO` first.

    In single quotes, the code has no character that a shell would interpret, not even csh or fish.
    The hello is in two parts, so a shell that prints its commands (`set -x`) does not say it.
    """
    first, _, rest = HELLO.decode().partition(" ")
    return (
        f"import sys; {_NEW_ENOUGH} or {_TOO_OLD}; sys.stdin or {_NO_INPUT}; "
        f'print(chr(10) + "{first} " + "{rest}", flush=True); '
        f"program = sys.stdin.buffer.read({len(program)}); "
        f"len(program) == {len(program)} or {_NO_INPUT}; exec(program)"
    )
