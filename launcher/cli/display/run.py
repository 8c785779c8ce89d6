"""Receives what staging and the supervisor report, and passes it to a surface."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from launcher import units
from launcher.cli.display.surface import StagingProgress, Surface
from launcher.plan import checkpoint_rule
from launcher.runs import events
from launcher.runs.events import Event
from launcher.runs.metrics import Pace
from launcher.runs.status import RunFacts, run_status
from launcher.specs import Plan, Program, RankRecord, StagedItem, StageItem
from launcher.specs.secrets import redact


class RunDisplay:
    """An `Observer` of the supervisor and a `Progress` of staging, for one run."""

    def __init__(
        self,
        surface: Surface,
        *,
        echo: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._surface = surface
        self._echo = echo
        self._clock = clock
        self._items: dict[str, StagingProgress] = {}
        self._plan: Plan | None = None
        self._history: dict[int, list[Event]] = {}
        self._pace = Pace()
        self._unchecked = False

    def planned(self, plan: Plan) -> None:
        """Show the plan in a few lines."""
        for name, text in _summary(plan):
            self._surface.say(f"{name:<12}{text}")
        for note in plan.notes:
            self._surface.say(f"{'note':<12}{note}", "note")
        self._unchecked = True

    # --- staging

    def started(self, item_name: str, uri: str, total_bytes: int | None) -> None:
        self._checked()
        known = self._items.get(item_name)
        if known is None:
            self._items[item_name] = StagingProgress(
                name=item_name, uri=uri, total=total_bytes, began=self._clock()
            )
        else:
            known.total = total_bytes
        self._draw_items()

    def advanced(self, item_name: str, n_bytes: int) -> None:
        item = self._items[item_name]
        item.advance(item.done + n_bytes, self._clock())
        self._draw_items()

    def counted(self, item_name: str, done: int, total: int, unit: str) -> None:
        item = self._items[item_name]
        item.unit, item.total = unit, total
        item.advance(done, self._clock())
        self._draw_items()

    def finished(self, item: StagedItem) -> None:
        self._checked()
        drawn = self._items.pop(item.name, None)
        amount = f"{units.size(item.size_bytes)} in {units.count(item.files, 'file')}"
        # A build program transfers nothing, but reports progress.
        if item.transferred_bytes or (drawn is not None and drawn.done):
            took = units.duration(item.seconds)
            self._surface.say(f"{'staged':<12}{item.name}: {amount}, {took}")
        else:
            self._surface.say(f"{'staged':<12}{item.name}: {amount}, already staged", "dim")
        if self._items:
            self._draw_items()
        else:
            self._surface.close()

    # --- training

    def attempt(self, plan: Plan) -> None:
        self._checked()
        self._plan = plan
        self._pace = Pace()
        self._history[plan.attempt] = []
        self._draw(plan, ())

    def ranks(self, records: Sequence[RankRecord]) -> None:
        if self._plan is not None:
            self._draw(self._plan, records)

    def output(self, text: str) -> None:
        if self._echo:
            self._surface.echo(text)

    def event(self, event: Event) -> None:
        if self._plan is not None:
            self._history[self._plan.attempt].append(event)
        show = _SHOWN.get(type(event))
        shown = show(event) if show else None
        if shown is not None:
            name, text, style = shown
            self._surface.say(f"{name:<12}{text}", style)

    def close(self) -> None:
        self._surface.close()

    def _checked(self) -> None:
        """Report that all checks passed: nothing is staged or started before."""
        if self._unchecked:
            self._unchecked = False
            self._surface.say(f"{'checks':<12}all passed")

    def _draw(self, plan: Plan, records: Sequence[RankRecord]) -> None:
        step = min((record.step for record in records), default=0)
        self._pace = self._pace.at(step, self._clock())
        facts = RunFacts(
            run_id=plan.run_id,
            attempt=plan.attempt,
            plan=plan,
            records=records,
            history=self._history,
            pace=self._pace,
        )
        self._surface.training(run_status(facts, now=time.time()))

    def _draw_items(self) -> None:
        self._surface.staging(tuple(self._items.values()))


def _summary(plan: Plan) -> list[tuple[str, str]]:
    nodes = plan.cluster.nodes
    workers = len(nodes) - 1
    role = f"head and {units.count(workers, 'worker')}" if workers else "one node"
    rows = [
        ("run", f"{plan.run_id}, attempt {plan.attempt}"),
        ("recipe", f"{plan.recipe}: {units.shell_line(_typed(plan).argv)}"),
        ("ranks", f"{plan.cluster.world_size} on {role}, {plan.device}, {plan.backend}"),
    ]
    rows += [(item.name, _source(item)) for item in plan.stage]
    return [*rows, ("checkpoints", checkpoint_rule(plan))]


def _typed(plan: Plan) -> Program:
    """Return the program where the user knows it; the ranks may run a copy."""
    return dataclasses.replace(plan.program, path=plan.source)


def _source(item: StageItem) -> str:
    if item.uri.startswith("build://"):
        return f"built here by {Path(item.uri).name}"
    return redact(item.uri)


_Shown = tuple[str, str, str] | None
"""Name, text and style; None for what the table of nodes shows anyway."""


def _started(event: events.AttemptStarted) -> _Shown:
    if event.resumes_step is None:
        return None
    return "resume", f"attempt {event.attempt} continues from step {event.resumes_step}", "good"


def _committed(event: events.Committed) -> _Shown:
    return "saved", f"checkpoint of step {event.step}", "dim"


def _failed(event: events.RankFailed) -> _Shown:
    return "failed", f"rank {event.rank} on {event.node}: {event.what}", "bad"


def _lost(event: events.NodeLost) -> _Shown:
    return "lost", f"node {event.node}: {event.why}", "bad"


def _changed(event: events.NodesChanged) -> _Shown:
    return "nodes", event.sentence, "note"


def _start_failed(event: events.StartFailed) -> _Shown:
    return "failed", event.why.splitlines()[0], "bad"


def _run_ended(event: events.RunEnded) -> _Shown:
    return ("no restart", event.why, "bad") if event.why else None


def _hangs(event: events.HangSuspected) -> _Shown:
    silent = units.duration(event.silent_s)
    text = f"rank {event.rank} on {event.node}: no progress for {silent} in phase {event.phase}"
    return "hang?", text, "note"


def _stopping(event: events.StopRequested) -> _Shown:
    # After a rank has failed the others can rarely save.
    saves = event.by != "the supervisor"
    doing = "saving a checkpoint" if saves else "stopping the other ranks"
    limit = units.duration(event.grace_s)
    return "stopping", f"{event.reason}: {doing}, at most {limit}; Ctrl-C kills them now", "note"


def _killed(event: events.Killed) -> _Shown:
    return "killed", f"the remaining processes: {event.reason}", "bad"


def _ended(event: events.AttemptEnded) -> _Shown:
    return ("restart", event.why, "note") if event.restarting else None


_SHOWN: Mapping[type[Event], Callable[[Any], _Shown]] = MappingProxyType(
    {
        events.AttemptStarted: _started,
        events.Committed: _committed,
        events.RankFailed: _failed,
        events.NodeLost: _lost,
        events.NodesChanged: _changed,
        events.StartFailed: _start_failed,
        events.RunEnded: _run_ended,
        events.HangSuspected: _hangs,
        events.StopRequested: _stopping,
        events.Killed: _killed,
        events.AttemptEnded: _ended,
    }
)
