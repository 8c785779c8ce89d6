"""What the ranks report, and the events that follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.runs import events
from launcher.specs import RankState, RunLayout, to_json
from launcher.supervise import NoObserver
from launcher.supervise.event_log import EventLog
from launcher.supervise.ranks import Ranks
from tests import make


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (40, "signal 40")])
def test_a_rank_that_any_signal_ended_is_reported(tmp_path: Path, number: int, name: str) -> None:
    plan, layout = make.plan(), RunLayout.of(tmp_path, "r1")
    folder = layout.attempt(plan.attempt)
    folder.ranks.mkdir(parents=True)
    record = make.record(0, state=RankState.FAILED, signal=number)
    folder.rank_record(0).write_text(to_json(record))
    log = EventLog(layout, NoObserver())
    log.start_attempt(plan)
    assert Ranks(plan, layout, log).read(stopping=False)
    failed = [each for each in events.read(folder.events) if isinstance(each, events.RankFailed)]
    assert [each.what for each in failed] == [f"ended by {name}"]
