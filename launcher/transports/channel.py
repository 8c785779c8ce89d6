"""A line to keepers: one process of ours whose stdin and stdout carry messages."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.specs import Command, Node

__all__ = ["Link", "last_messages", "last_words"]

Message = Mapping[str, Any]
_READ_AT_ONCE = 1 << 16
_END_WITHIN_S = 2.0


class Parts:
    """Puts messages together again; whatever else stands between them is noise.

    A message of which a part did not arrive whole never arrives: better than one with a hole.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[str]] = {}

    def add(self, line: bytes) -> tuple[str, Message] | None:
        """Return (node, message) when `line` completes one."""
        try:
            value = json.loads(line)
            node, number, of = str(value["node"]), int(value["number"]), int(value["of"])
            parts = self._parts.setdefault(node, [])
            if number != len(parts):
                parts.clear()
            if number == len(parts):
                parts.append(value["part"])
            if len(parts) < of:
                return None
            return node, json.loads("".join(self._parts.pop(node)))
        except (ValueError, TypeError, KeyError):
            return None


class Link:
    """A process that leads to one keeper or to many, with what goes to and fro."""

    def __init__(
        self, argv: Sequence[str], first: bytes, env: Mapping[str, str] | None = None
    ) -> None:
        # A file, because nobody has to read it while it grows; a background process that ssh
        # leaves behind may keep it open.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=env,
            start_new_session=True,  # a terminal's Ctrl-C is the supervisor's to handle
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._lock = threading.Lock()
        self._waiting = bytearray(first)
        self._line = b""
        self._parts = Parts()
        self._words = ""
        self._closed = False

    def fileno(self) -> int:
        """Where something arrives."""
        return self._out

    def send(self, message: Message) -> None:
        """Pass a message on; nothing happens when nobody is there any more."""
        with self._lock:
            self._waiting += f"{json.dumps(message)}\n".encode()
        self.flush()

    @property
    def is_waiting(self) -> bool:
        """Whether not everything has been passed on yet."""
        return bool(self._waiting) and not self._closed

    def flush(self) -> None:
        """Write what the pipe takes of what still waits."""
        with self._lock, contextlib.suppress(OSError):  # full for now, or nobody reads it any more
            while self._waiting and not self._closed:
                del self._waiting[: os.write(self._in, self._waiting)]

    def receive(self) -> Iterator[tuple[str, Message]]:
        """Yield the messages that have arrived.

        Raises:
            EOFError: nothing can arrive any more.
        """
        try:
            data = os.read(self._out, _READ_AT_ONCE)
        except BlockingIOError:
            return
        if not data:
            raise EOFError
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if (found := self._parts.add(line)) is not None:
                yield found

    def words(self) -> str:
        """Return what the process has complained about so far."""
        with self._lock:
            if not self._closed:
                self._read_words()
            return self._words

    def _read_words(self) -> None:
        self._errors.seek(0)
        self._words = self._errors.read().decode(errors="replace")

    def close(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._end()
        with self._lock:
            self._read_words()
            for file in (self.process.stdin, self.process.stdout, self._errors):
                with contextlib.suppress(OSError):
                    assert file is not None
                    file.close()

    def _end(self) -> None:
        self.process.terminate()  # srun then ends its step, ssh its session
        try:
            self.process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def last_messages(output: bytes) -> dict[str, Message]:
    """Return the last message of each node in `output`, but not the word that it is there."""
    parts = Parts()
    found = (parts.add(line) for line in output.split(b"\n"))
    return {node: message for node, message in filter(None, found) if "here" not in message}


def last_words(text: str) -> str:
    """Return the last line of `text` that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


# A command that a keeper holds for us on another node.
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
