from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.specs import Command, RunLayout
from launcher.supervise.run_processes import end_leftovers, reap
from launcher.transports import Answer, Process, Reach, create
from tests.unit.supervise.conftest import Scene

pytestmark = pytest.mark.process

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


def test_only_processes_of_this_run_are_found_and_ended(start: Start, tmp_path: Path) -> None:
    ours, other_root = RunLayout.of(tmp_path / "a", "r1"), RunLayout.of(tmp_path / "b", "r1")
    mine, namesake, stranger = start(variables(ours)), start(variables(other_root)), start({})
    assert reap(ours) == [mine.pid]
    assert mine.wait(5) == -signal.SIGKILL
    assert namesake.poll() is None
    assert stranger.poll() is None


def test_a_run_without_processes_costs_nothing_to_reap(tmp_path: Path) -> None:
    assert reap(RunLayout.of(tmp_path, "r1")) == []


def test_a_supervisor_inside_a_run_does_not_end_itself(tmp_path: Path) -> None:
    layout = RunLayout.of(tmp_path, "r1")
    code = (
        "import sys; from pathlib import Path; from launcher.specs import RunLayout;"
        "from launcher.supervise.run_processes import reap;"
        "print(reap(RunLayout(Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(layout.path)],
        env={**os.environ, **variables(layout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n")


class Recording:
    """The local transport, which remembers the questions."""

    def __init__(self) -> None:
        self._local = create("local", Reach(nodes=(), python=sys.executable))
        self.asked: list[set[int]] = []

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        raise AssertionError("starts nothing")

    def ask(
        self,
        source: str,
        requests: Mapping[int, Mapping[str, Any]],
        *,
        timeout_s: float,
        ready_within_s: float | None = None,
    ) -> dict[int, Answer]:
        self.asked.append(set(requests))
        return self._local.ask(source, requests, timeout_s=timeout_s)

    def close(self) -> None: ...


def test_leftovers_are_ended_where_an_earlier_attempt_may_have_left_some(
    scene: Scene, start: Start
) -> None:
    scene.behaviours = ("done", "done")
    plan = scene.plan_for(1)
    transport = Recording()
    orphan = start(variables(scene.layout))
    end_leftovers(transport, replace(plan, transport="ssh"), scene.layout)
    end_leftovers(transport, replace(plan, attempt=2), scene.layout)
    assert not transport.asked
    end_leftovers(transport, replace(plan, transport="ssh", attempt=2), scene.layout)
    assert transport.asked == [{0, 1}]
    assert orphan.wait(30) == -signal.SIGKILL
