"""Where events go: to `events.jsonl`, and to whoever watches."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from launcher.runs import events
from launcher.runs.events import Event
from launcher.specs import Plan, RankRecord

logger = logging.getLogger(__name__)

HOST = socket.gethostname()


class Journal:
    """Writes every event of one attempt down and tells the observer. The only writer of the file.

    Neither a full disk nor an observer that breaks (its terminal is gone) may end a training run:
    both are logged once and left alone.
    """

    def __init__(self, path: Path, observer: Observer) -> None:
        self._path = path
        self._observer = observer
        self._broken: set[str] = set()

    def attempt(self, plan: Plan) -> None:
        self._guard("observer", lambda: self._observer.attempt(plan))

    def tell(self, event: Event) -> None:
        self._guard("events.jsonl", lambda: events.append(self._path, event))
        self._guard("observer", lambda: self._observer.event(event))

    def ranks(self, records: Sequence[RankRecord]) -> None:
        self._guard("observer", lambda: self._observer.ranks(records))

    def output(self, line: str) -> None:
        self._guard("observer", lambda: self._observer.output(line))

    def _guard(self, name: str, action: Callable[[], None]) -> None:
        if name in self._broken:
            return
        try:
            action()
        except Exception as error:
            self._broken.add(name)
            logger.warning("`%s` is not told anything more: %s", name, error, exc_info=True)


# Who is told what happens while a run goes on.
class Observer(Protocol):
    """Draws a run. Called from the supervisor's own loop, so it must return at once.

    It cannot influence the run: who wants it to stop writes a stop request or sends a signal.
    """

    def attempt(self, plan: Plan) -> None:
        """An attempt with this plan is about to start."""

    def event(self, event: Event) -> None:
        """Something happened; see `launcher.runs.events` for all kinds."""

    def ranks(self, records: Sequence[RankRecord]) -> None:
        """The newest record of every rank that wrote one, in rank order; about twice a second."""

    def output(self, line: str) -> None:
        """Rank 0 wrote this line (without its newline)."""


class NoObserver:
    """Watches nothing."""

    def attempt(self, plan: Plan) -> None: ...

    def event(self, event: Event) -> None: ...

    def ranks(self, records: Sequence[RankRecord]) -> None: ...

    def output(self, line: str) -> None: ...
