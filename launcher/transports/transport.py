"""What a transport is: the smallest thing that can start an argv on a node and end it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from launcher.specs import Command


class Process(Protocol):
    """One started command. Held by whoever started it; nobody is ever found by name.

    The shape is `subprocess.Popen` cut down to what also works over ssh or srun: no pipes, since
    the output already goes to the log, and no `terminate`, since who stops in two stages needs to
    say when each stage comes.
    """

    @property
    def pid(self) -> int:
        """Process id, on the node that the transport started it from."""

    def poll(self) -> int | None:
        """Return the exit code if it has ended (minus the signal number if one ended it)."""

    def signal(self, number: int) -> None:
        """Send `number` to the started process alone; once it has ended this does nothing."""

    def kill(self) -> None:
        """End it and every process of its group at once; may be called any number of times."""

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; return the exit code, or None when `timeout_s` passed first."""


class Transport(Protocol):
    """How an argv reaches a node."""

    def start(
        self, command: Command, *, log: Path, extra_env: Mapping[str, str] | None = None
    ) -> Process:
        """Start `command` on its node with stdout and stderr appended to `log`.

        The argv arrives unchanged, whatever it holds. The environment is the inherited one, with
        `command.env` and then `extra_env` on top.

        Raises:
            PreflightError: there is no such program or folder on the node.
        """
