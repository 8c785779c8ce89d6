"""The agent on a node whose ranks mpirun starts, with a stand-in for MPI's daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import ConfigError, EngineMissingError
from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.exit_records import read_record
from launcher.runtime.mpi_node import daemon
from launcher.runtime.process import first_record
from launcher.runtime.rsh_agent import LaunchRequest, close_all
from launcher.specs import RankRecord, RankState, RunLayout, to_json

WITHIN_S = 60


class Node:
    """A node with a daemon that runs what its first argument says."""

    def __init__(self, folder: Path, **extra: str) -> None:
        self.folder = folder
        program = folder / "bin" / "orted"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\nexec sh -c "$1"\n')
        program.chmod(0o755)
        # Behind the interpreter's own folder, which may hold a real one of that name.
        fake = folder / "bin" / "python"
        fake.symlink_to(sys.executable)
        environ = {"LAUNCHER_RUN_DIR": str(folder / "run"), "LAUNCHER_ATTEMPT": "1", **extra}
        self.launch = LaunchEnviron.from_environ(environ)
        self.request = LaunchRequest.of("h", self.launch)
        self.process = subprocess.Popen(
            [str(fake), "-m", "launcher.runtime.mpi_node", "h"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ},
            stderr=subprocess.DEVNULL,
        )

    def gets(self, script: str, *before: str) -> None:
        self.request.send([*before, "/elsewhere/bin/orted", script])

    def ends_with(self) -> int:
        return self.process.wait(WITHIN_S)

    def wait_for(self, path: Path) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def orted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a daemon of Open MPI on the PATH, for machines that have no MPI."""
    program = tmp_path / "orted"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path, LAUNCHER_GRACE_S="0.5")
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.process
def test_it_runs_what_is_requested_and_ends_as_that_does(node: Node) -> None:
    node.gets("exit 7")
    assert node.ends_with() == 7


@pytest.mark.process
def test_it_exits_when_no_request_will_come(node: Node) -> None:
    close_all(node.launch)
    assert node.ends_with() == 0


@pytest.mark.process
def test_it_exits_when_stopped_before_a_request_came(node: Node) -> None:
    node.wait_for(node.request.path)
    node.process.send_signal(signal.SIGTERM)
    assert node.ends_with() == 0


@pytest.mark.process
def test_a_request_to_stop_is_left_to_mpi_and_the_rest_is_killed_after_the_grace(
    node: Node, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    node.gets(f"trap 'exit 9' USR1 TERM; touch {ready}; while true; do sleep 0.1; done")
    node.wait_for(ready)
    node.process.send_signal(signal.SIGTERM)
    assert node.ends_with() == 128 + signal.SIGKILL


@pytest.mark.process
def test_it_marks_its_own_silent_ranks_as_failed_and_no_others(tmp_path: Path) -> None:
    node = Node(tmp_path, LAUNCHER_SLOTS="1(x2)", LAUNCHER_NODE_RANK="1")
    before = [a_running_rank(rank, node.launch) for rank in (0, 1)]
    node.gets("exit 3")
    assert node.ends_with() == 3
    after = [read_record(rank, node.launch) for rank in (0, 1)]
    assert after[0] == before[0]
    assert after[1] is not None
    assert (after[1].state, after[1].exit_code) == (RankState.FAILED, 3)


def a_running_rank(rank: int, launch: LaunchEnviron) -> RankRecord:
    place = RankEnviron(
        rank=rank, world_size=2, local_rank=0, local_world_size=1, node_rank=rank, set_by=""
    )
    record = replace(first_record(place, launch, pid=1), state=RankState.RUNNING)
    assert launch.run_dir is not None
    path = RunLayout(launch.run_dir).attempt(1).rank_record(rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(record))
    return record


@pytest.mark.process
def test_the_prefix_of_an_mpi_that_was_moved_is_the_one_of_this_node(
    node: Node, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    node.gets(f"echo $OPAL_PREFIX > {said}", "OPAL_PREFIX=/elsewhere", ";")
    assert node.ends_with() == 0
    assert said.read_text().strip() == str(tmp_path)


@pytest.mark.usefixtures("orted")
def test_an_mpi_that_was_not_moved_needs_no_prefix() -> None:
    _, variables = daemon(["PATH=/x:$PATH", ";", "orted", "-mca", "a", "b"])
    assert variables == {}


@pytest.mark.usefixtures("orted")
def test_the_daemon_stays_in_the_foreground() -> None:
    argv, _ = daemon(["orted", "--daemonize", "-mca", "a", "b"])
    assert argv[1:] == ["-mca", "a", "b"]


def test_a_command_that_starts_no_daemon_of_mpi_is_not_run() -> None:
    with pytest.raises(ConfigError, match="unknown command"):
        daemon(["rm", "-rf", "/"])


def test_a_daemon_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineMissingError, match="`prted` is not installed"):
        daemon(["prted"])
