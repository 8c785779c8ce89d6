"""The agent around an MPI launcher, with a stand-in for mpirun that runs one guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.runtime.environ import node_variables
from launcher.specs import RankRecord, RankState, RunLayout, from_json

pytestmark = pytest.mark.process

WAITS = """
import sys, time
print("ready", flush=True)
try:
    time.sleep(60)
except SystemExit:
    print("asked to leave", flush=True)
    raise
"""

MPIRUN = """#!/bin/sh
# Forwards SIGUSR1 as Open MPI does, and dies of SIGTERM.
"$@" &
rank=$!
trap 'kill -USR1 $rank' USR1
wait $rank; code=$?
while kill -0 $rank 2>/dev/null; do wait $rank; code=$?; done
exit $code
"""


class Mpirun:
    def __init__(self, folder: Path, text: str, **extra: str) -> None:
        (folder / "prog.py").write_text(text)
        fake = folder / "bin" / "standin"
        fake.parent.mkdir()
        fake.write_text(MPIRUN)
        fake.chmod(0o755)
        self.layout = RunLayout(folder / "run").attempt(1)
        guard = [sys.executable, "-m", "launcher.runtime.guard", "--", str(folder / "prog.py")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launcher.runtime.mpirun", "--", "standin", *guard],
            env={
                **os.environ,
                "PATH": f"{fake.parent}:{os.environ['PATH']}",
                "LAUNCHER_RUN_DIR": str(folder / "run"),
                "LAUNCHER_BACKEND": "mpi",
                "LAUNCHER_SLOTS": "0,1",
                "LAUNCHER_NODES": '[{"LAUNCHER_NODE_NAME": "a"}, {"LAUNCHER_NODE_NAME": "b"}]',
                "OMPI_COMM_WORLD_RANK": "0",
                "OMPI_COMM_WORLD_SIZE": "1",
                **extra,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        log = self.layout.rank_log(1, 0)
        wait_for(lambda: log.exists() and "ready" in log.read_text())

    def record(self) -> RankRecord:
        return from_json(RankRecord, self.layout.rank_record(0).read_bytes())


def wait_for(true: object, timeout_s: float = 20) -> None:
    assert callable(true)
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def test_sigterm_to_the_agent_asks_the_rank_to_leave(tmp_path: Path) -> None:
    run = Mpirun(tmp_path, WAITS)
    run.wait_until_ready()
    run.process.send_signal(signal.SIGTERM)
    run.process.wait(20)
    assert "asked to leave" in run.layout.rank_log(1, 0).read_text()


def test_a_failure_keeps_its_traceback_its_code_and_its_node(tmp_path: Path) -> None:
    run = Mpirun(tmp_path, "raise ValueError('bad sample')")
    assert run.process.wait(20) == 1
    record = run.record()
    assert (record.state, record.node_rank, record.node) == (RankState.FAILED, 1, "b")
    assert record.exception is not None
    assert record.exception.message == "bad sample"


def test_scripts_of_torchrun_count_only_the_nodes_that_have_ranks(tmp_path: Path) -> None:
    told = "import os; print(os.environ['GROUP_RANK'], os.environ['GROUP_WORLD_SIZE'])"
    run = Mpirun(tmp_path, told, MASTER_ADDR="127.0.0.1")
    assert run.process.wait(20) == 0
    assert run.layout.rank_log(1, 0).read_text() == "0 1\n"


@pytest.mark.parametrize(
    ("exported", "expected"), [({}, "^tcp"), ({"OMPI_MCA_btl": "self,tcp"}, "self,tcp")]
)
def test_ranks_of_one_machine_open_no_ports_unless_the_user_asks_for_it(
    tmp_path: Path, exported: dict[str, str], expected: str
) -> None:
    run = Mpirun(tmp_path, "import os; print(os.environ['OMPI_MCA_btl'])", **exported)
    assert run.process.wait(20) == 0
    assert run.layout.rank_log(1, 0).read_text().strip() == expected


def test_a_rank_killed_from_outside_is_recorded_with_its_signal(tmp_path: Path) -> None:
    run = Mpirun(tmp_path, WAITS)
    run.wait_until_ready()
    os.kill(run.record().pid, signal.SIGKILL)
    run.process.wait(20)
    assert (run.record().state, run.record().signal) == (RankState.FAILED, 9)


def test_a_rank_dies_with_the_agent(tmp_path: Path) -> None:
    run = Mpirun(tmp_path, WAITS)
    run.wait_until_ready()
    pid = run.record().pid
    run.process.kill()
    run.process.wait(20)
    wait_for(lambda: is_gone(pid))


STAYS = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked to leave", flush=True))
print("ready", flush=True)
while True:
    time.sleep(60)
"""


def test_a_rank_that_does_not_leave_is_killed_after_its_grace(tmp_path: Path) -> None:
    run = Mpirun(tmp_path, STAYS, LAUNCHER_GRACE_S="1")
    run.wait_until_ready()
    run.process.send_signal(signal.SIGTERM)
    run.process.wait(20)
    assert "asked to leave" in run.layout.rank_log(1, 0).read_text()
    assert run.record().signal == 9


def test_a_missing_mpirun_ends_with_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launcher.runtime.mpirun", "--", "no-such-mpirun"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "hydra-torch-launcher[mpi]" in done.stderr


def test_another_mpi_than_open_mpi_is_refused_on_several_machines(tmp_path: Path) -> None:
    program = tmp_path / "mpirun"
    program.write_text("#!/bin/sh\necho HYDRA build details:\n")
    program.chmod(0o755)
    words = [str(program), "-np", "2", "--host", "a:1,b:1", "true"]
    done = subprocess.run(
        [sys.executable, "-m", "launcher.runtime.mpirun", "--", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is another MPI" in done.stderr
    assert "HYDRA" in done.stderr


@pytest.mark.parametrize(("node", "found"), [(0, {"A": "1"}), (1, {}), (2, {})])
def test_ranks_take_the_variables_of_their_node(node: int, found: dict[str, str]) -> None:
    assert node_variables({"LAUNCHER_NODES": '[{"A": "1"}, {}]'}, node) == found
