"""One thread that listens to all keepers and tells them that we are still here.

It is a thread, so that nothing which the supervisor waits for, such as a slow storage, makes the
nodes believe that it has gone.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Iterable

from launcher.transports.channel import Kept, Link, last_words

__all__ = ["Switchboard"]

_MOST_BETWEEN_PINGS_S = 2.0
_PINGS_WITHIN_LIMIT = 5
"""So many pings may be due before a node counts as lost."""
_LOOK_S = 0.1
"""Between two looks at what no arriving message tells."""
_SOON_S = 0.01
_EXIT_WITHIN_S = 2.0
"""Between the last output of a process and its end."""
_CLOSE_WITHIN_S = 5.0
"""What keepers get to end their commands; they do so at once, unless they hang."""


class Switchboard:
    """Watches over links until `close`."""

    def __init__(self, lost_after_s: float) -> None:
        self._lost_after_s = lost_after_s
        self._ping_s = min(_MOST_BETWEEN_PINGS_S, lost_after_s / _PINGS_WITHIN_LIMIT)
        self._selector = selectors.DefaultSelector()
        self._kept: dict[Link, dict[str, Kept]] = {}
        self._ending: dict[Link, float] = {}
        """Links that have said all they had to say, and since when."""
        self._lock = threading.Lock()
        self._closing = False
        self._thread: threading.Thread | None = None

    def add(self, link: Link, kept: Iterable[Kept]) -> None:
        """Listen to `link`, over which these commands are kept."""
        with self._lock:
            self._kept[link] = {each.node.name: each for each in kept}
            self._selector.register(link, selectors.EVENT_READ, data=link)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="launcher-switchboard", daemon=True
                )
                self._thread.start()
        link.flush()

    def close(self) -> None:
        """End every command that is still kept, and every link."""
        links = self._links()
        for link in links:
            link.send({"to": None, "kill": True})
        _wait_for(lambda: all(self._is_over(link) for link in links), _CLOSE_WITHIN_S)
        _wait_for(lambda: not self._kept, _EXIT_WITHIN_S)
        self._closing = True
        if self._thread is not None:
            self._thread.join()
        for link in list(self._kept):
            self._drop(link)
        self._selector.close()

    def _is_over(self, link: Link) -> bool:
        return all(each.is_over for each in self._kept.get(link, {}).values())

    # --- the thread

    def _run(self) -> None:
        next_ping = looked = time.monotonic()
        while not self._closing:
            self._listen()
            now = time.monotonic()
            if now - looked > self._ping_s:
                # It was us who slept: a stopped process, a laptop with its lid closed.
                self._forgive(now - looked)
            looked = now
            self._look_for_ends(now)
            if now >= next_ping:
                next_ping = now + self._ping_s
                self._ping()
                self._look_for_silence(now)

    def _listen(self) -> None:
        waiting = [link for link in self._links() if link.is_waiting]
        for each in waiting:
            each.flush()
        for key, _ in self._selector.select(_SOON_S if waiting or self._ending else _LOOK_S):
            self._hear(key.data)

    def _hear(self, link: Link) -> None:
        try:
            for node, message in link.receive():
                if node in self._kept[link]:
                    self._kept[link][node].hear(message)
        except EOFError:
            self._selector.unregister(link)
            self._ending[link] = time.monotonic()

    def _ping(self) -> None:
        for link in self._links():
            link.send({"to": None, "ping": True})

    def _links(self) -> list[Link]:
        with self._lock:
            return list(self._kept)

    def _forgive(self, seconds: float) -> None:
        for link in self._links():
            for each in self._kept[link].values():
                each.heard_at += seconds

    def _look_for_silence(self, now: float) -> None:
        for link in self._links():
            for each in self._kept[link].values():
                silent_s = now - each.heard_at
                runs = each.started and each.poll() is None
                if runs and silent_s > self._lost_after_s:
                    each.lose(f"no sign of life for {silent_s:.0f} s from {_place(each)}")
                    each.kill()  # should it come back

    def _look_for_ends(self, now: float) -> None:
        for link, since in list(self._ending.items()):
            if link.process.poll() is not None or now - since > _EXIT_WITHIN_S:
                del self._ending[link]
                self._drop(link)

    def _drop(self, link: Link) -> None:
        link.close()
        why = last_words(link.words())
        for each in self._kept[link].values():
            each.lose(f"the connection to {_place(each)} ended" + (f": {why}" if why else ""))
        with self._lock:
            del self._kept[link]


def _wait_for(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def _place(kept: Kept) -> str:
    known = kept.node.ssh or kept.node.address
    return kept.node.name if known == kept.node.name else f"{kept.node.name} ({known})"
