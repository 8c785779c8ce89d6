"""Where events go: to `events.jsonl`, and to whoever watches."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from launcher.runs import events
from launcher.runs.events import Event
from launcher.specs import Plan, RankRecord
from launcher.supervise.observer import Observer

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
