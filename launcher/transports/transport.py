"""What a transport is: the smallest thing that can start an argv on a node and end it again."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

from launcher.errors import UnknownNameError
from launcher.specs import Command, Node


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a transport has to know of the nodes it reaches."""

    nodes: tuple[Node, ...]
    python: str
    """Interpreter on the nodes; our own code on the far side runs under it."""
    lost_after_s: float = 20.0
    """A node that gives no sign of life for this long counts as lost."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one node said to a question; either a value or a problem."""

    node_rank: int
    value: Mapping[str, Any] | None = None
    problem: str = ""
    """Why there is no value, in one line: `no answer within 5 s`, ssh's own words ..."""
    hint: str = ""
    """What to do about the problem."""
    seconds: float = 0.0
    """How long the answer took."""


class Process(Protocol):
    """One started command. Held by whoever started it; nobody is ever found by name.

    The shape is `subprocess.Popen` cut down to what also works over ssh or srun: no pipes, since
    the output already goes to the log, and no `terminate`, since who stops in two stages needs to
    say when each stage comes.
    """

    @property
    def pid(self) -> int:
        """Process id, on the node that the transport started it from."""

    @property
    def lost(self) -> str:
        """Why its node counts as lost, in one line; empty while it is there."""

    def poll(self) -> int | None:
        """Return the exit code if it has ended (minus the signal number if one ended it).

        The command of a lost node counts as ended by SIGKILL: it ends by itself over there, and
        nothing of it can be waited for.
        """

    def signal(self, number: int) -> None:
        """Send `number` to the started process alone; once it has ended this does nothing."""

    def kill(self) -> None:
        """End it and every process of its group at once; may be called any number of times."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; return the exit code, or None when `timeout_s` passed first."""


class Transport(Protocol):
    """How an argv reaches the nodes."""

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        """Start every command on its node; stdout and stderr are appended to the node's log.

        Commands and logs belong together by node rank. The argv arrives unchanged, whatever it
        holds. The environment is the inherited one with `command.env` on top; over a network, the
        part of the inherited one that `docs/ssh.md` lists, and never on a command line.
        When one cannot be started, those that were started have ended again.

        Raises:
            PreflightError: a node cannot be reached, or has no such program or folder.
        """

    def ask(
        self, source: str, requests: Mapping[int, Mapping[str, Any]], *, timeout_s: float
    ) -> dict[int, Answer]:
        """Run `source` on the nodes with these ranks, all at once, and return what each answers.

        `source` is a self-contained Python program that needs nothing but the standard library: it
        reads one JSON object, the node's request, from stdin and prints one JSON object. It is
        given `timeout_s` on each node, and ended then. Never raises for a node that does not
        answer: that is an `Answer` with a problem.
        """

    def close(self) -> None:
        """End what is still connected; may be called any number of times."""


# Which transports there are, by name. Imported only when used.
TRANSPORTS: Mapping[str, str] = MappingProxyType(
    {
        "local": "launcher.transports.local:LocalTransport",
        "ssh": "launcher.transports.ssh:SshTransport",
        "srun": "launcher.transports.srun:SrunTransport",
    }
)
"""Name -> `module:class`; the class is called with a `Reach`."""


def create(name: str, reach: Reach) -> Transport:
    """Return a new transport called `name` to the nodes of `reach`.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in TRANSPORTS:
        raise UnknownNameError("transport", name, TRANSPORTS)
    module, _, kind = TRANSPORTS[name].partition(":")
    return cast("Transport", getattr(importlib.import_module(module), kind)(reach))
