"""A run before its first attempt."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import runs
from launcher.errors import Interrupted, LauncherError, PreflightError, SavedForRequeue
from launcher.runs import RunState
from launcher.runs.lock import beat
from launcher.specs import RunLayout
from launcher.supervise import prepare
from tests.unit.supervise.test_ownership import wait_until


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout.of(tmp_path / "outputs", "r1")


def fail(layout: RunLayout, *, write: Callable[[], object] = lambda: None) -> None:
    def body() -> None:
        write()
        raise LauncherError("something is missing", hint="-")

    with pytest.raises(LauncherError, match="missing"), prepare(layout):
        body()


def test_a_run_is_known_from_its_first_moment_until_its_supervisor_takes_over(
    layout: RunLayout,
) -> None:
    with prepare(layout) as preparation:
        assert runs.find(layout.path.parents[1], "r1") == layout
        status = runs.read_status(layout)
        assert (status.state, status.supervisor_alive) == (RunState.STAGING, True)
        preparation.hand_over()
    assert runs.read_supervisor(layout) is None


def test_a_run_that_is_prepared_again_is_staging_whatever_it_was(layout: RunLayout) -> None:
    folder = layout.attempt(1)
    folder.path.mkdir(parents=True)
    ended = runs.events.RunEnded(at=1.0, state="failed", exit_code=5, why="")
    runs.events.append(folder.events, ended)
    assert runs.read_status(layout).state is RunState.FAILED
    with prepare(layout):
        assert runs.read_status(layout).state is RunState.STAGING
    assert runs.read_status(layout).state is RunState.FAILED


def test_a_new_run_that_cannot_start_leaves_nothing(layout: RunLayout, tmp_path: Path) -> None:
    fail(layout)
    assert list(tmp_path.iterdir()) == []


def test_what_others_wrote_and_what_was_begun_stays(layout: RunLayout) -> None:
    other = RunLayout.of(layout.path.parents[1], "r2")
    other.path.mkdir(parents=True)
    fail(layout)
    assert [path.name for path in layout.path.parent.iterdir()] == ["r2"]
    fail(other)
    assert other.path.is_dir()
    fail(layout, write=lambda: layout.config.write_text("run_id: r1"))
    assert layout.config.exists()


def interrupted_by(layout: RunLayout, ask: Callable[[], object]) -> None:
    with prepare(layout):
        ask()
        signal.pause()


def test_a_stop_request_ends_what_waits(layout: RunLayout) -> None:
    with pytest.raises(Interrupted, match="stopped the run before training started") as caught:
        interrupted_by(layout, lambda: runs.request_stop(layout))
    assert caught.value.exit_code == 130
    assert not layout.path.exists()


def test_a_preemption_ends_what_waits(layout: RunLayout) -> None:
    with pytest.raises(SavedForRequeue, match="SIGUSR1 before training started"):
        interrupted_by(layout, lambda: os.kill(os.getpid(), signal.SIGUSR1))


def test_an_old_request_is_cleared_and_a_late_one_is_left_for_the_supervisor(
    layout: RunLayout,
) -> None:
    layout.path.mkdir(parents=True)
    runs.request_stop(layout)
    with prepare(layout) as preparation:
        assert runs.read_stop(layout) is None
        preparation.hand_over()
        request = runs.request_stop(layout)
        assert preparation.stop_request == request
    assert runs.read_stop(layout) == request


@pytest.fixture
def other(layout: RunLayout) -> subprocess.Popen[str]:
    """Another living supervisor of the run."""
    layout.path.mkdir(parents=True)
    code = (
        "import sys, time; from launcher.runs import lock; from launcher.specs import *;"
        "from pathlib import Path; lock.beat(RunLayout(Path(sys.argv[1])), attempt=1);"
        "print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(layout.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.process
def test_a_run_with_a_living_supervisor_is_refused_before_anything_else(
    layout: RunLayout, other: subprocess.Popen[str]
) -> None:
    with pytest.raises(PreflightError) as caught, prepare(layout):
        pass
    assert f"process {other.pid} on {socket.gethostname()}" in caught.value.message
    assert "launcher stop r1" in caught.value.hint
    assert "run_id=" in caught.value.hint
    other.communicate()
    with prepare(layout):  # it has ended
        pass


@pytest.mark.process
def test_a_job_that_continues_a_run_is_submitted_while_the_run_is_supervised(
    layout: RunLayout, other: subprocess.Popen[str]
) -> None:
    request = runs.request_stop(layout)  # it is for the other one
    with prepare(layout, submits=True) as preparation:
        assert preparation.stop_request is None
        found = runs.read_supervisor(layout)
        assert found is not None
        assert found.pid == other.pid
    assert runs.read_stop(layout) == request
    assert runs.read_supervisor(layout) == found
    other.communicate()


@pytest.mark.process
def test_an_earlier_job_may_start_while_the_next_one_is_submitted(layout: RunLayout) -> None:
    with prepare(layout, submits=True):
        assert runs.read_status(layout).state is RunState.STAGING
        script = "import sys; from launcher.runs import rival; from launcher.specs import *;"
        script += "from pathlib import Path; print(rival(RunLayout(Path(sys.argv[1]))))"
        done = subprocess.run(
            [sys.executable, "-c", script, str(layout.path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "None\n"


def test_its_own_heartbeat_is_not_another_supervisor(layout: RunLayout) -> None:
    layout.path.mkdir(parents=True)
    beat(layout, attempt=1)
    with prepare(layout) as preparation:
        assert not preparation.hand_over().shared


def test_a_folder_that_cannot_be_created_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    layout = RunLayout.of(tmp_path / "file", "r1")
    with pytest.raises(PreflightError, match="not a folder"), prepare(layout):
        pass


def test_the_heartbeat_is_written_while_the_run_is_prepared(layout: RunLayout) -> None:
    with prepare(layout):
        first = runs.read_supervisor(layout)
        assert first is not None
        wait_until(lambda: runs.read_supervisor(layout) not in (None, first))
