"""A command that a keeper holds for us on another node."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

from launcher.specs import Command, Node
from launcher.transports.link import Link

__all__ = ["Kept", "Refusal"]


class Refusal(Exception):
    """Why a node did not start its command."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        """`log`, `folder` or `program`, as the keeper tells it, or `connection`."""
        self.why = why


class Kept:
    """What is known of one command. A background thread writes it, whoever watches reads it."""

    def __init__(self, node: Node, command: Command, link: Link) -> None:
        self.node = node
        self.command = command
        self.link = link
        self.heard_at = time.monotonic()
        self._changed = threading.Condition()
        self._pid: int | None = None
        self._code: int | None = None
        self._lost = ""
        self._refusal: Refusal | None = None
        self.is_over = False
        """Nothing is left of it, or nothing can be known of it any more."""

    @property
    def pid(self) -> int:
        return self._pid or 0

    @property
    def lost(self) -> str:
        return self._lost

    @property
    def started(self) -> bool:
        return self._pid is not None

    def poll(self) -> int | None:
        return self._code

    def signal(self, number: int) -> None:
        if self._code is None:
            self.link.send({"to": self.node.name, "signal": number})

    def kill(self) -> None:
        self.link.send({"to": self.node.name, "kill": True})

    def wait(self, timeout_s: float | None = None) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._code is not None, timeout_s)
            return self._code

    def wait_for_start(self, timeout_s: float) -> None:
        """Return once it runs.

        Raises:
            Refusal: it does not run, and never will.
            TimeoutError: nobody knows.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.started or self._refusal, timeout_s)
        if self._refusal is not None:
            raise self._refusal
        if not self.started:
            raise TimeoutError

    # --- what the background thread tells

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take note of a message from its keeper."""
        self.heard_at = time.monotonic()
        with self._changed:
            if "started" in message:
                self._pid = message["started"]
            elif "failed" in message:
                self._refusal = Refusal(message["failed"], message["why"])
            elif "exit" in message and self._code is None:
                self._code = message["exit"]
            elif "left" in message:
                self.is_over = True
            self._changed.notify_all()

    def lose(self, why: str) -> None:
        """Nothing can be learned of it any more."""
        self.is_over = True
        with self._changed:
            if not self.started and self._refusal is None:
                self._refusal = Refusal("connection", why)
            elif self._code is None:
                self._lost = why
                self._code = -signal.SIGKILL
            self._changed.notify_all()
