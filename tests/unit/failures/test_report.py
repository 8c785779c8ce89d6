from __future__ import annotations

import json

import pytest

from launcher.errors import UnknownNameError
from launcher.failures import why
from launcher.runs import lock
from launcher.specs import RankException, RankState
from tests.run_folder import RunFolder

T0 = 1_700_000_000.0


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
    assert "omitted" in "\n".join(lines)


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
    assert "Resume from step 5:" in text
    assert f"python -m launcher resume r1 storage.root={root}" in text


def test_the_log_of_the_first_failure_is_named(folder: RunFolder) -> None:
    folder.begin().raised(3, "ValueError", "x").ended()
    assert str(folder.layout.attempt(1).rank_log(3, 3)) in why(folder.layout)


def test_a_run_whose_supervisor_is_gone_says_so(folder: RunFolder) -> None:
    folder.begin()
    assert "the launcher is gone" in why(folder.layout)


def killed_launcher(folder: RunFolder) -> RunFolder:
    """Leave the word of a launcher that is no more: a process of this host that never was."""
    lock.beat(folder.layout, attempt=folder.attempt)
    words = json.loads(folder.layout.supervisor.read_text())
    words |= {"process_started": "1", "pid": 2341, "heartbeat_at": T0 + 11}
    folder.layout.supervisor.write_text(json.dumps(words))
    return folder


@pytest.mark.parametrize("ended_at", [10.5, 14.0])  # clocks of hosts differ
def test_a_launcher_that_was_killed_is_blamed_for_the_ranks_that_its_keepers_end(
    folder: RunFolder, ended_at: float
) -> None:
    folder.begin()
    for rank in range(4):
        folder.rank(rank, committed_step=5).signalled(rank, 15, at=ended_at)
    folder.rank(0, at=ended_at, state=RankState.FAILED, signal=15, committed_step=5)
    text = why(killed_launcher(folder).layout)
    assert "FIRST FAILURE  the launcher" in text
    assert "process 2341 on" in text
    assert "rank 0 (local0) was ended by SIGTERM" in " ".join(text.split())
    assert "Resume from step 5:" in text
    assert "resume r1" in text


def test_a_failure_before_the_launcher_was_killed_is_still_the_first(folder: RunFolder) -> None:
    killed_launcher(folder.begin().raised(2, "KeyError", "'label'", at=10))
    assert "FIRST FAILURE  rank 2" in why(folder.layout)


def test_a_launcher_that_was_killed_before_the_first_attempt_is_named(folder: RunFolder) -> None:
    folder.layout.path.mkdir(parents=True)
    lock.beat(folder.layout, attempt=0)
    assert "Nothing failed." in why(folder.layout)
    killed_launcher(folder)
    assert "was killed before training started" in why(folder.layout)
    assert "repeat the command" in why(folder.layout)


def test_a_living_launcher_is_not_blamed(folder: RunFolder) -> None:
    folder.begin()
    lock.beat(folder.layout, attempt=1)
    assert "Nothing failed." in why(folder.layout)
    assert "FIRST FAILURE  rank 1" in why(folder.signalled(1, 15).layout)


@pytest.mark.parametrize("state", ["running", "done", "stopped"])
def test_a_lost_node_is_named_after_the_run_went_on_without_it(
    folder: RunFolder, state: str
) -> None:
    folder.begin(nodes=3).lost(2, "no sign of life for 20 s").restarts()
    folder.begin(nodes=2, attempt=2).changed("local2")
    if state == "running":
        lock.beat(folder.layout, attempt=2)
    else:
        folder.ended(state)
    lines = why(folder.layout).splitlines()
    assert lines[0].startswith(f"run r1, attempt 2: {state}")
    assert lines[1] == "attempt 2 has not failed"
    assert lines[2] == "attempt 1 failed, the run continued with 2 of 3 nodes: without local2"
    assert lines[4].startswith("FIRST FAILURE  node 2 (local2)")
    assert ("resume r1" in "\n".join(lines)) == (state == "stopped")


def test_an_attempt_after_a_restart_or_a_resume_tells_what_failed_before(folder: RunFolder) -> None:
    folder.begin().raised(1, "ValueError", "first").ended()
    folder.begin(attempt=2)
    lock.beat(folder.layout, attempt=2)
    assert "attempt 1 failed, the run was resumed\n" in why(folder.layout)
    folder.raised(3, "KeyError", "second").restarts()
    folder.begin(attempt=3)
    text = why(folder.layout)
    assert "attempt 2 failed, the run was restarted on the same nodes\n" in text
    assert "KeyError: second" in text


def test_a_launcher_that_was_killed_is_named_after_the_run_was_resumed(folder: RunFolder) -> None:
    folder.begin().signalled(0, 15, at=14)
    folder.begin(attempt=2)
    lock.beat(folder.layout, attempt=2)
    text = why(folder.layout)
    assert "attempt 1 failed, the run was resumed\n" in text
    assert "FIRST FAILURE  the launcher" in text


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
