"""Who is told what happens while a run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from launcher.runs.events import Event
from launcher.specs import Plan, RankRecord


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
