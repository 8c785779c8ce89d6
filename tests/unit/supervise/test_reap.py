from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.specs import RunLayout
from launcher.supervise.reap import belongs, processes_of, reap, send

Start = Callable[[dict[str, str]], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def sleep(env: dict[str, str]) -> subprocess.Popen[bytes]:
        code = "import sys, time; print('x', flush=True); time.sleep(60)"
        child = subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, **env}, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        started.append(child)
        return child

    yield sleep
    for child in started:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def variables(layout: RunLayout) -> dict[str, str]:
    return {"LAUNCHER_RUN_ID": layout.run_id, "LAUNCHER_RUN_DIR": str(layout.path)}


def test_only_processes_of_this_very_run_are_found_and_ended(start: Start, tmp_path: Path) -> None:
    ours, other_root = RunLayout.of(tmp_path / "a", "r1"), RunLayout.of(tmp_path / "b", "r1")
    mine, namesake, stranger = start(variables(ours)), start(variables(other_root)), start({})
    assert processes_of(ours) == [mine.pid]
    assert reap(ours) == [mine.pid]
    assert mine.wait(5) == -signal.SIGKILL
    assert namesake.poll() is None
    assert stranger.poll() is None


def test_a_run_without_processes_costs_nothing_to_reap(tmp_path: Path) -> None:
    assert reap(RunLayout.of(tmp_path, "r1")) == []


def test_a_signal_is_sent_only_to_processes_of_the_run(start: Start, tmp_path: Path) -> None:
    layout = RunLayout.of(tmp_path, "r1")
    stranger, mine = start({}), start(variables(layout))
    assert not send(stranger.pid, signal.SIGKILL, layout)
    assert not send(2**22 - 1, signal.SIGKILL, layout)
    assert send(mine.pid, signal.SIGTERM, layout)
    assert mine.wait(5) == -signal.SIGTERM
    assert stranger.poll() is None
    assert not belongs(mine.pid, layout)


def test_a_supervisor_inside_a_run_does_not_end_itself(tmp_path: Path) -> None:
    layout = RunLayout.of(tmp_path, "r1")
    code = (
        "import sys; from pathlib import Path; from launcher.specs import RunLayout;"
        "from launcher.supervise.reap import reap; print(reap(RunLayout(Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(layout.path)],
        env={**os.environ, **variables(layout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n")
