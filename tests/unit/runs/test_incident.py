from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from launcher.errors import UnknownNameError
from launcher.runs import why
from launcher.specs import RankException, RankState

if TYPE_CHECKING:
    RunFolder = Any


def test_a_long_traceback_is_cut_in_the_middle_and_the_screen_is_not_exceeded(
    folder: RunFolder,
) -> None:
    frames = "".join(f'  File "f{i}.py", line {i}, in f{i}\n    f{i + 1}()\n' for i in range(200))
    trace = f"Traceback (most recent call last):\n{frames}RecursionError: too deep\n"
    error = RankException(at=1.0, kind="RecursionError", message="too deep", traceback=trace)
    folder.begin().rank(0, state=RankState.FAILED, exception=error)
    for rank in (1, 2, 3):
        folder.raised(rank, f"Err{rank}", "x" * 400)
    for attempt in (2, 3, 4, 5):
        folder.begin(attempt=attempt).ended(cause="y" * 300)
    folder.begin(attempt=6).rank(0, state=RankState.FAILED, exception=error).ended()
    lines = why(folder.layout, 6).splitlines()
    assert len(lines) <= 40
    assert "RecursionError: too deep" in "\n".join(lines)
    assert "left out" in "\n".join(lines)


def test_the_last_exception_of_a_chain_is_shown(folder: RunFolder) -> None:
    trace = (
        "Traceback (most recent call last):\n  old\nKeyError: 1\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        'Traceback (most recent call last):\n  File "new.py"\nValueError: 2\n'
    )
    error = RankException(at=1.0, kind="ValueError", message="2", traceback=trace)
    folder.begin().rank(0, state=RankState.FAILED, exception=error).ended()
    text = why(folder.layout)
    assert "new.py" in text
    assert "KeyError" not in text


def test_the_command_that_goes_on_is_offered_with_the_storage_root(folder: RunFolder) -> None:
    folder.begin().rank(1, committed_step=5).raised(0, "ValueError", "x").ended()
    text = why(folder.layout)
    root = folder.layout.path.parent.parent
    assert "Go on from step 5 with:" in text
    assert f"python -m launcher resume run_id=r1 storage.root={root}" in text


def test_the_log_of_the_first_failure_is_named(folder: RunFolder) -> None:
    folder.begin().raised(3, "ValueError", "x").ended()
    assert str(folder.layout.attempt(1).rank_log(3, 3)) in why(folder.layout)


def test_a_run_whose_supervisor_is_gone_says_so(folder: RunFolder) -> None:
    folder.begin()
    assert "supervisor is gone" in why(folder.layout)


def test_a_run_that_does_not_exist_is_an_error_with_the_nearest_name(folder: RunFolder) -> None:
    folder.begin()
    from launcher.specs import RunLayout

    with pytest.raises(UnknownNameError, match="did you mean `r1`"):
        why(RunLayout(folder.layout.path.parent / "r11"))


def test_a_run_none_of_whose_checkpoints_can_be_read_is_not_told_to_go_on_from_one(
    folder: RunFolder,
) -> None:
    folder.begin().rank(1, committed_step=30)
    kind = "launcher.errors.CheckpointError"
    folder.raised(0, kind, "checkpoints exist, but none can be read\ndata/000001/s000.safetensors")
    text = why(folder.ended().layout)
    assert "from step 30" not in text
    assert "resume=never" in text
    assert "s000.safetensors" in text
