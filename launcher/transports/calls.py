"""One-shot calls: a process that leads to one node agent or to many gets one request."""

from __future__ import annotations

import contextlib
import select
import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.interrupts import interrupted
from launcher.transports.channel import Channel

__all__ = ["Barrier", "CallResult", "Calls", "Limits"]

_SOON_S = 0.01
_LOOK_EVERY_S = 0.2
_EXIT_WITHIN_S = 2.0
"""Between the end of the output and the end of the process."""


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """What one call returned."""

    code: int | None
    """Exit code; None if the process did not end in time."""
    replies: Mapping[str, tuple[Mapping[str, Any], float]] = field(default_factory=dict)
    """Name of a node -> its last message, and the seconds from the hello to it."""
    hello_s: float | None = None
    """Seconds until a node agent said hello; None if none did."""
    asked_at: float | None = None
    """When that was, by the clock of this machine."""
    greeting: str = ""
    """The last line that arrived instead of a hello."""
    stderr: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long to wait in each phase of a call."""

    hello_s: float
    """Until a node agent says hello."""
    ready_s: float
    """From then until the nodes are ready for the barrier, if there is one."""
    answer_s: float
    """From then until all answers are here."""


class Barrier:
    """Where the nodes of one question wait for each other."""

    def __init__(self, ranks: Mapping[str, int]) -> None:
        """Expect the nodes with these names and ranks."""
        self._ranks = ranks
        self._missing = set(ranks)
        self._ready: set[str] = set()
        self._changed = threading.Condition()

    def arrive(self, name: str) -> None:
        """Count a node as ready."""
        with self._changed:
            if name in self._missing:
                self._ready.add(name)
        self.leave((name,))

    def leave(self, names: Collection[str]) -> None:
        """Do not wait for these nodes, or no longer."""
        with self._changed:
            self._missing.difference_update(names)
            self._changed.notify_all()

    def awaits_any(self, names: Collection[str]) -> bool:
        """Return whether one of these nodes is neither ready nor given up."""
        with self._changed:
            return not self._missing.isdisjoint(names)

    def wait(self) -> list[int]:
        """Return the ranks of all ready nodes once no node is missing."""
        with self._changed:
            self._changed.wait_for(lambda: not self._missing)
            return sorted(self._ranks[name] for name in self._ready)


class Calls:
    """Makes calls, and kills those that still run when it is closed."""

    def __init__(self, most_logins: int) -> None:
        """At most `most_logins` calls wait for a hello at a time."""
        self._logins = threading.BoundedSemaphore(most_logins)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(
        self,
        argv: Sequence[str],
        data: bytes,
        names: Collection[str],
        limits: Limits,
        *,
        barrier: Barrier | None = None,
        env: Mapping[str, str] | None = None,
    ) -> CallResult:
        """Run `argv`, send `data` once an agent says hello, and collect the messages of all.

        The nodes `names` wait at the barrier. A process that exceeds a limit is ended.

        Raises:
            OSError: the process cannot be started.
            KeyboardInterrupt: a signal has asked this process to end.
        """
        with contextlib.ExitStack() as stack:
            with self._logins:
                channel = self._start(argv, data, env)
                stack.callback(self._end, channel)
                call = _Call(channel, names, barrier)
                call.await_hello(limits.hello_s)
            if channel.hello_at is not None:
                if barrier is not None:
                    call.await_barrier(barrier, limits.ready_s)
                call.await_end(limits.answer_s)
        return call.result()

    def _start(self, argv: Sequence[str], data: bytes, env: Mapping[str, str] | None) -> Channel:
        with self._lock:
            channel = Channel(argv, data, env)
            self._running.add(channel.process)
            if self._closed:
                channel.process.kill()
        return channel

    def _end(self, channel: Channel) -> None:
        channel.close()
        with self._lock:
            self._running.discard(channel.process)

    def close(self) -> None:
        """Kill the calls that still run, and every later one right after its start."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            process.kill()


class _Call:
    """One call over one channel."""

    def __init__(self, channel: Channel, names: Collection[str], barrier: Barrier | None) -> None:
        self._channel = channel
        self._names = names
        self._barrier = barrier
        self._poll = select.poll()  # takes no open file, unlike epoll
        self._poll.register(channel, select.POLLIN)
        self._began = time.monotonic()
        self._replies: dict[str, tuple[Mapping[str, Any], float]] = {}
        self._asked_at: float | None = None
        self._ended = False
        self._code: int | None = None

    def await_hello(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while self._channel.hello_at is None and self._listen(deadline):
            pass
        if self._channel.hello_at is not None:
            self._asked_at = time.time()

    def await_barrier(self, barrier: Barrier, ready_within_s: float) -> None:
        deadline = time.monotonic() + ready_within_s
        while barrier.awaits_any(self._names) and self._listen(deadline):
            pass
        barrier.leave(self._names)
        self._channel.send({"to": None, "go": barrier.wait()})

    def await_end(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while self._listen(deadline):
            pass

    def result(self) -> CallResult:
        """Return what is known, after the channel was closed."""
        hello_at = self._channel.hello_at
        return CallResult(
            code=self._code,
            replies=self._replies,
            hello_s=None if hello_at is None else hello_at - self._began,
            asked_at=self._asked_at,
            greeting=self._channel.greeting,
            stderr=self._channel.stderr(),
        )

    def _listen(self, deadline: float) -> bool:
        """Take note of what arrives; return False once there is nothing to wait for."""
        left_s = deadline - time.monotonic()
        if self._ended or left_s <= 0:
            return False
        if interrupted.is_set():
            raise KeyboardInterrupt
        self._channel.flush()
        soon = self._channel.has_unsent
        self._poll.poll(1000 * min(left_s, _SOON_S if soon else _LOOK_EVERY_S))
        try:
            for node, message in self._channel.receive():
                self._note(node, message)
        except EOFError:
            self._ended = True
            self._note_exit()
        return not self._ended

    def _note(self, node: str, message: Mapping[str, Any]) -> None:
        if "waiting" in message:
            if self._barrier is not None:
                self._barrier.arrive(node)
        elif "ready" not in message:
            self._replies[node] = (message, time.monotonic() - (self._channel.hello_at or 0.0))
            if self._barrier is not None:
                self._barrier.leave((node,))

    def _note_exit(self) -> None:
        try:
            self._code = self._channel.process.wait(_EXIT_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._code = None
