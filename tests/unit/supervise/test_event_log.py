"""What the supervisor records and shows has no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.runs import events
from launcher.runs.events import Event
from launcher.specs import RunLayout
from launcher.supervise.event_log import EventLog, NoObserver


class Recorder(NoObserver):
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)


def test_reasons_that_quote_a_secret_are_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHER_SECRET_PASSWORD", "hunter2")
    recorder, layout = Recorder(), RunLayout(tmp_path)
    log = EventLog(layout, recorder)
    log._path = tmp_path / "events.jsonl"
    log.add(events.StartFailed(at=1.0, why="ssh: bad hunter2, HF_TOKEN=hf_abcdefghijklmnopqrst"))
    shown = "ssh: bad ***LAUNCHER_SECRET_PASSWORD***, HF_TOKEN=***"
    assert recorder.events == [events.StartFailed(at=1.0, why=shown)]
    assert events.read(log._path) == recorder.events
