"""What a transport is, and the table of all transports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from launcher.extensions import Table, load
from launcher.specs import Command, Node

__all__ = ["TRANSPORTS", "Answer", "Process", "Reach", "Transport", "TransportRow", "create"]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a transport needs to know about the nodes that it reaches."""

    nodes: tuple[Node, ...]
    python: str
    """Interpreter on the nodes. It also runs our own programs there."""
    lost_after_s: float = 20.0
    """A node without a heartbeat for this long counts as lost."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of one node to a question: a value or a problem."""

    node_rank: int
    value: Mapping[str, Any] | None = None
    problem: str = ""
    """Why there is no value, in one line: `no answer within 5 s`, or the message of ssh."""
    hint: str = ""
    """What to do about the problem."""
    login_s: float = 0.0
    """How long it took to reach the node."""
    asked_at: float | None = None
    """When it got the question then, by our clock; None if the transport does not know."""
    seconds: float = 0.0
    """How long the answer took from then on."""


class Process(Protocol):
    """One started command, held by the code that started it: no process is ever found by name.

    The shape is `subprocess.Popen`, reduced to what also works over ssh and srun. There are no
    pipes, since the output goes to the log. There is no `terminate`: the supervisor stops in two
    stages and decides when each one is due.
    """

    @property
    def pid(self) -> int:
        """Process id, on the node that the transport started it from."""

    @property
    def lost(self) -> str:
        """Why its node counts as lost, in one line; empty while the node answers."""

    def poll(self) -> int | None:
        """Return the exit code if it has ended (minus the signal number if a signal ended it).

        The command of a lost node counts as ended by SIGKILL: it ends by itself on that node, and
        we cannot wait for it.
        """

    def signal(self, number: int) -> None:
        """Send signal `number` to the started process alone; does nothing once it has ended."""

    def kill(self) -> None:
        """Kill it and every process of its group; can be called any number of times."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; return the exit code, or None after `timeout_s`."""


class Transport(Protocol):
    """How commands reach the nodes. It adds nothing to them: all that runs is in the plan."""

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        """Start every command on its node; stdout and stderr are appended to the node's log.

        Commands, logs and processes belong together by node rank. The argv arrives unchanged,
        whatever characters it has. The environment is the inherited one with `command.env` on top.
        Over a network, only the part of the inherited one that `docs/ssh.md` lists is sent, and
        never on a command line.

        Raises:
            PreflightError: a node cannot be reached, or has no such program or folder. The
                commands that were started have ended again.
        """

    def ask(
        self,
        source: str,
        requests: Mapping[int, Mapping[str, Any]],
        *,
        timeout_s: float,
        ready_within_s: float | None = None,
    ) -> dict[int, Answer]:
        """Run `source` on the nodes with these ranks, in parallel, and return their answers.

        `source` is a self-contained Python program that needs only the standard library. It reads
        one JSON object, the node's request, from a line of stdin and prints one JSON object. It is
        killed after `timeout_s`. A node that does not answer is an `Answer` with a problem, never
        an exception.

        With `ready_within_s`, the nodes wait for each other, however slow some logins are. The
        program first prints a line when it is ready. It then reads a second line, a JSON list of
        the ranks that are ready. A node that is not ready in time has a problem, and does not
        delay the others further. `timeout_s` begins when the program gets the list.
        """

    def close(self) -> None:
        """End what is still connected; can be called any number of times."""


@dataclass(frozen=True, kw_only=True)
class TransportRow:
    """One transport of the table."""

    name: str
    """What a source of nodes calls it."""
    factory: str
    """`module:class` of a `Transport`; the class is called with a `Reach`."""
    same_machine: bool = False
    """Its commands run on the machine of the launcher, whatever node they are for."""


TRANSPORTS: Table[TransportRow] = Table(
    "transport",
    (
        TransportRow(
            name="local", factory="launcher.transports.local:LocalTransport", same_machine=True
        ),
        TransportRow(name="ssh", factory="launcher.transports.ssh:SshTransport"),
        TransportRow(name="srun", factory="launcher.transports.srun:SrunTransport"),
    ),
    row_type=TransportRow,
    group="launcher.transports",
)


def create(name: str, reach: Reach) -> Transport:
    """Return a new transport called `name` to the nodes of `reach`.

    Raises:
        UnknownNameError: no transport has this name.
    """
    factory: Callable[[Reach], Transport] = load(TRANSPORTS[name].factory)
    return factory(reach)
