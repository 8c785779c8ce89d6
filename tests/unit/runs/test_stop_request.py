from __future__ import annotations

from pathlib import Path

from launcher.runs import clear_stop, read_stop, request_stop
from launcher.specs import RunLayout


def test_a_request_is_read_back_with_who_and_why(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert read_stop(layout) is None
    made = request_stop(layout, reason="enough")
    assert read_stop(layout) == made
    assert "@" in made.by
    clear_stop(layout)
    clear_stop(layout)
    assert read_stop(layout) is None


def test_a_file_that_somebody_wrote_by_hand_is_a_request_too(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    layout.stop.write_text('{"reason": "by hand", "at": "now"}')
    found = read_stop(layout)
    assert found is not None
    assert (found.reason, found.by) == ("by hand", "somebody")
