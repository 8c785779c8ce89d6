"""One thread that listens to all node agents and sends them heartbeats.

It is a thread of its own so that a supervisor that waits, for example for slow storage, does not
look dead to the nodes.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Iterable

from launcher.transports.channel import Channel, RemoteProcess, last_line

__all__ = ["Poller"]

_LONGEST_PING_S = 2.0
_PINGS_WITHIN_LIMIT = 5
"""How many pings a node may miss before it counts as lost."""
_POLL_S = 0.1
"""Between two looks at what no message reports."""
_SOON_S = 0.01
_EXIT_WITHIN_S = 2.0
"""Between the last output of a channel's process and its end."""
_CLOSE_WITHIN_S = 5.0
"""What node agents get to end their commands; they do so immediately unless they hang."""


class Poller:
    """Watches channels until `close`."""

    def __init__(self, lost_after_s: float) -> None:
        self._lost_after_s = lost_after_s
        self._ping_s = min(_LONGEST_PING_S, lost_after_s / _PINGS_WITHIN_LIMIT)
        self._selector = selectors.DefaultSelector()
        self._processes: dict[Channel, dict[str, RemoteProcess]] = {}
        """The processes of each channel, by the name of their node."""
        self._ended: dict[Channel, float] = {}
        """Channels whose output has ended, and when."""
        self._lock = threading.Lock()
        self._closing = False
        self._thread: threading.Thread | None = None

    def add(self, channel: Channel, processes: Iterable[RemoteProcess]) -> None:
        """Watch `channel`, over which these processes run."""
        with self._lock:
            self._processes[channel] = {each.node.name: each for each in processes}
            self._selector.register(channel, selectors.EVENT_READ, data=channel)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="launcher-poller", daemon=True
                )
                self._thread.start()
        channel.flush()

    def close(self) -> None:
        """End every process that still runs, and every channel."""
        channels = self._channels()
        for channel in channels:
            channel.send({"to": None, "kill": True})
        _wait_for(lambda: all(self._is_over(channel) for channel in channels), _CLOSE_WITHIN_S)
        _wait_for(lambda: not self._processes, _EXIT_WITHIN_S)
        self._closing = True
        if self._thread is not None:
            self._thread.join()
        for channel in list(self._processes):
            self._drop(channel)
        self._selector.close()

    def _is_over(self, channel: Channel) -> bool:
        return all(each.is_over for each in self._processes.get(channel, {}).values())

    # --- the thread

    def _run(self) -> None:
        next_ping = last_round = time.monotonic()
        while not self._closing:
            self._listen()
            now = time.monotonic()
            if now - last_round > self._ping_s:
                # This process was suspended, or its machine slept: the nodes were not silent.
                self._forgive(now - last_round)
            last_round = now
            self._drop_ended(now)
            if now >= next_ping:
                next_ping = now + self._ping_s
                self._ping()
                self._find_lost(now)

    def _listen(self) -> None:
        unsent = [channel for channel in self._channels() if channel.has_unsent]
        for channel in unsent:
            channel.flush()
        for key, _ in self._selector.select(_SOON_S if unsent or self._ended else _POLL_S):
            self._receive(key.data)

    def _receive(self, channel: Channel) -> None:
        try:
            for node, message in channel.receive():
                if node in self._processes[channel]:
                    self._processes[channel][node].note(message)
        except EOFError:
            self._selector.unregister(channel)
            self._ended[channel] = time.monotonic()

    def _ping(self) -> None:
        for channel in self._channels():
            channel.send({"to": None, "ping": True})

    def _channels(self) -> list[Channel]:
        with self._lock:
            return list(self._processes)

    def _forgive(self, seconds: float) -> None:
        for channel in self._channels():
            for each in self._processes[channel].values():
                each.last_message_at += seconds

    def _find_lost(self, now: float) -> None:
        for channel in self._channels():
            for each in self._processes[channel].values():
                silent_s = now - each.last_message_at
                runs = each.started and each.poll() is None
                if runs and silent_s > self._lost_after_s:
                    each.lose(f"no heartbeat for {silent_s:.0f} s from {_place(each)}")
                    each.kill()  # in case it comes back

    def _drop_ended(self, now: float) -> None:
        for channel, since in list(self._ended.items()):
            if channel.process.poll() is not None or now - since > _EXIT_WITHIN_S:
                del self._ended[channel]
                self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        channel.close()
        why = last_line(channel.stderr())
        for each in self._processes[channel].values():
            each.lose(f"the connection to {_place(each)} ended" + (f": {why}" if why else ""))
        with self._lock:
            del self._processes[channel]


def _wait_for(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def _place(process: RemoteProcess) -> str:
    node = process.node
    known = node.ssh or node.address
    return node.name if known == node.name else f"{node.name} ({known})"
