"""A channel to node agents, and the processes that they run for us.

A channel is a local process (ssh, srun, or the node agent itself) whose stdin and stdout carry
messages, each a line of JSON. Over one channel, one or many agents each run one `RemoteProcess`.
"""

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
from launcher.transports.remote import HELLO

__all__ = ["Channel", "Reassembler", "RemoteProcess", "StartError", "last_line"]

Message = Mapping[str, Any]
_READ_BYTES = 1 << 16
_LONGEST_LINE = 1 << 16
"""Messages have shorter lines; a login may print one that never ends."""
_END_WITHIN_S = 2.0


class Reassembler:
    """Joins the parts of messages; skips everything else that a login prints between them.

    A message is dropped if one of its parts did not arrive whole.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[str]] = {}

    def add(self, line: bytes) -> tuple[str, Message] | None:
        """Return (node, message) if `line` completes a message."""
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


class Channel:
    """A local process that leads to one node agent or to many.

    Nothing is sent before an agent says hello. Until then, a shell may be at the other end that
    would run our program as commands, and secrets would be in its error messages.
    """

    def __init__(
        self, argv: Sequence[str], data: bytes, env: Mapping[str, str] | None = None
    ) -> None:
        """Start `argv`; `data` is the first thing to send."""
        # A file, not a pipe: it may grow unread, and a background process that ssh leaves behind
        # may keep it open.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=env,
                start_new_session=True,  # only the supervisor handles the Ctrl-C of the terminal
            )
        except OSError:
            self._errors.close()
            raise
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._lock = threading.Lock()
        self._unsent = bytearray(data)
        self._line = b""
        self.hello_at: float | None = None
        """When an agent said hello, in monotonic seconds."""
        self.greeting = ""
        """The last line that arrived instead of a hello."""
        self._reassembler = Reassembler()
        self._stderr = ""
        self._closed = False

    def fileno(self) -> int:
        """Return the file that messages arrive at, for a selector."""
        return self._out

    def send(self, message: Message) -> None:
        """Send a message; does nothing if the other side has closed the channel."""
        if "kill" in message and self.hello_at is None:
            with self._lock:
                self._unsent.clear()  # an agent that comes late starts nothing
            self._signal(signal.SIGTERM)
            return
        with self._lock:
            self._unsent += f"{json.dumps(message)}\n".encode()
        self.flush()

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` has more to write."""
        return bool(self._unsent) and self._is_open

    def flush(self) -> None:
        """Write as much of what is unsent as the pipe takes."""
        with self._lock, contextlib.suppress(OSError):  # the pipe is full, or its reader has gone
            while self._unsent and self._is_open:
                del self._unsent[: os.write(self._in, self._unsent)]

    @property
    def _is_open(self) -> bool:
        return self.hello_at is not None and not self._closed

    def receive(self) -> Iterator[tuple[str, Message]]:
        """Yield the messages that have arrived, each with the name of its node.

        Raises:
            EOFError: no more messages can arrive.
        """
        try:
            data = os.read(self._out, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise EOFError
        *lines, last = (self._line + data).split(b"\n")
        self._line = last[-_LONGEST_LINE:]
        for line in lines:
            if self.hello_at is None:
                self._await_hello(line.strip())
            elif (message := self._reassembler.add(line)) is not None:
                yield message

    def _await_hello(self, line: bytes) -> None:
        if line == HELLO:
            self.hello_at = time.monotonic()
            self.flush()
        elif line:
            self.greeting = line.decode(errors="replace")

    def stderr(self) -> str:
        """Return what the process wrote to stderr so far."""
        with self._lock:
            if not self._closed:
                self._read_stderr()
            return self._stderr

    def _read_stderr(self) -> None:
        self._errors.seek(0)
        self._stderr = self._errors.read().decode(errors="replace")

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._end()
        with self._lock:
            self._read_stderr()
            for file in (self.process.stdin, self.process.stdout, self._errors):
                with contextlib.suppress(OSError):
                    assert file is not None
                    file.close()

    def _end(self) -> None:
        self._signal(signal.SIGTERM)  # srun then ends its step, ssh its session
        try:
            self.process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: int) -> None:
        """Signal the whole group: `cluster.python` may be a script with children of its own."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


class StartError(Exception):
    """Why a node did not start its command."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        """`log`, `folder` or `program`, as the node agent reports it, or `connection`."""
        self.why = why


class RemoteProcess:
    """One command that a node agent runs for us: a `Process` of the transports.

    The poller's thread updates it, the supervisor reads it.
    """

    def __init__(self, node: Node, command: Command, channel: Channel) -> None:
        self.node = node
        self.command = command
        self.channel = channel
        self.last_message_at = time.monotonic()
        self._changed = threading.Condition()
        self._pid: int | None = None
        self._code: int | None = None
        self._lost = ""
        self._start_error: StartError | None = None
        self.is_over = False
        """No process of it is left on the node, or the node is lost."""

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
            self.channel.send({"to": self.node.name, "signal": number})

    def kill(self) -> None:
        self.channel.send({"to": self.node.name, "kill": True})

    def wait(self, timeout_s: float | None = None) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._code is not None, timeout_s)
            return self._code

    def wait_for_start(self, timeout_s: float) -> None:
        """Return once it runs.

        Raises:
            StartError: the node did not start it.
            TimeoutError: the node did not answer in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.started or self._start_error, timeout_s)
        if self._start_error is not None:
            raise self._start_error
        if not self.started:
            raise TimeoutError

    def wait_until_over(self, timeout_s: float) -> None:
        """Wait until every process that it started has ended as well, or `timeout_s` passed."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_over, timeout_s)

    # --- called by the poller

    def note(self, message: Message) -> None:
        """Take note of a message of its node agent."""
        self.last_message_at = time.monotonic()
        with self._changed:
            if "started" in message:
                self._pid = message["started"]
            elif "failed" in message:
                self._start_error = StartError(message["failed"], message["why"])
            elif "exit" in message and self._code is None:
                self._code = message["exit"]
            elif "left" in message:
                self.is_over = True
            self._changed.notify_all()

    def lose(self, why: str) -> None:
        """Count its node as lost, unless its end is known already."""
        with self._changed:
            self.is_over = True
            if not self.started and self._start_error is None:
                self._start_error = StartError("connection", why)
            elif self._code is None:
                self._lost = why
                self._code = -signal.SIGKILL
            self._changed.notify_all()


def last_line(text: str) -> str:
    """Return the last line of `text` that is not blank."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
