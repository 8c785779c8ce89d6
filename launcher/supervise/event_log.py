"""Where the events of a run go: to `events.jsonl`, and to the observer that shows the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from launcher.runs import events
from launcher.runs.events import Event
from launcher.specs import Plan, RankRecord, RunLayout
from launcher.specs.secrets import hide_in

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Shows a run. The supervisor's own loop calls it, so every method must return immediately.

    It cannot influence the run. To stop it, write a stop request or send a signal.
    """

    def attempt(self, plan: Plan) -> None:
        """Take note that an attempt with this plan is about to start."""

    def event(self, event: Event) -> None:
        """Take note of an event; `launcher.runs.events` has all kinds."""

    def ranks(self, records: Sequence[RankRecord]) -> None:
        """Take the newest record of every rank that wrote one, by rank; about twice a second."""

    def output(self, text: str) -> None:
        """Take what rank 0 printed: one or more whole lines, without the last newline."""


class NoObserver:
    """Shows nothing."""

    def attempt(self, plan: Plan) -> None: ...

    def event(self, event: Event) -> None: ...

    def ranks(self, records: Sequence[RankRecord]) -> None: ...

    def output(self, text: str) -> None: ...


class EventLog:
    """Writes every event of a run and passes it to the observer. The only writer of the files.

    A full disk, or an observer that fails (its terminal is closed), must not end a training run.
    Each is logged once per attempt, then ignored until the next one.
    """

    def __init__(self, layout: RunLayout, observer: Observer) -> None:
        self._layout = layout
        self._observer = observer
        self._broken: set[str] = set()

    def start_attempt(self, plan: Plan) -> None:
        """Write into the file of this attempt from now on."""
        self._path = self._layout.attempt(plan.attempt).events
        self._broken.clear()
        self._guard("observer", lambda: self._observer.attempt(plan))

    def add(self, event: Event) -> None:
        event = hide_in(event, os.environ)  # reasons quote what nodes and ranks have printed
        self._guard("events.jsonl", lambda: events.append(self._path, event))
        self._guard("observer", lambda: self._observer.event(event))

    def ranks(self, records: Sequence[RankRecord]) -> None:
        self._guard("observer", lambda: self._observer.ranks(records))

    def output(self, text: str) -> None:
        self._guard("observer", lambda: self._observer.output(text))

    def _guard(self, name: str, action: Callable[[], None]) -> None:
        if name in self._broken:
            return
        try:
            action()
        except Exception as error:
            self._broken.add(name)
            logger.warning("`%s` gets no further events: %s", name, error, exc_info=True)
