"""Agents as the plan starts them: real processes, tiny scripts, a run folder of their own."""

from __future__ import annotations

import functools
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.runtime.agent import parse
from launcher.specs import RankRecord, RankState, RunLayout, from_json

pytestmark = pytest.mark.process

AGENT = (sys.executable, "-m", "launcher.runtime.agent")

JOIN = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
t = torch.ones(1)
dist.all_reduce(t)
"""


class Agents:
    """One agent per node, all on this machine."""

    def __init__(
        self, folder: Path, text: str, slots: tuple[int, ...], extra: dict[str, str]
    ) -> None:
        self.script = folder / "prog.py"
        self.script.write_text(textwrap.dedent(text))
        self.layout = RunLayout(folder / "run").attempt(1)
        self.slots = slots
        self.folder = folder
        port = free_port()
        self.nodes = [self._start(node, port, extra) for node in range(len(slots))]

    def _start(self, node: int, port: int, extra: dict[str, str]) -> subprocess.Popen[bytes]:
        numbers = {
            "--nnodes": len(self.slots),
            "--node-rank": node,
            "--nproc-per-node": self.slots[node],
            "--peer-grace-s": 1,
        }
        flags = [word for name, value in numbers.items() for word in (name, str(value))]
        endpoint = [
            "--rdzv-endpoint",
            f"{extra.get('ADDRESS', '127.0.0.1')}:{port}",
            "--run-id",
            "test",
        ]
        log = (self.folder / f"agent{node}.log").open("wb")
        with log:
            return subprocess.Popen(
                [*AGENT, *flags, *endpoint, "--", str(self.script), "--flag", "a b"],
                env={
                    **os.environ,
                    "LAUNCHER_RUN_DIR": str(self.layout.path.parent.parent),
                    "LAUNCHER_ATTEMPT": "1",
                    "LAUNCHER_NODE_RANK": str(node),
                    "LAUNCHER_NODE_NAME": f"local{node}",
                    "LAUNCHER_SLOTS": ",".join(map(str, self.slots)),
                    "LAUNCHER_BACKEND": "torchrun",
                    "LAUNCHER_DEVICE": "cpu",
                    "LAUNCHER_GRACE_S": "20",
                    "OMP_NUM_THREADS": "1",
                    "GLOO_SOCKET_IFNAME": "lo",
                    **extra,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> list[int]:
        return [node.wait(timeout=40) for node in self.nodes]

    def kill(self) -> None:
        for node in self.nodes:
            if node.poll() is None:
                node.kill()
            node.wait()

    def agent_log(self, node: int = 0) -> str:
        return (self.folder / f"agent{node}.log").read_text()

    def log(self, rank: int, node: int = 0) -> str:
        path = self.layout.rank_log(node, rank)
        return path.read_text() if path.exists() else ""

    def record(self, rank: int) -> RankRecord:
        return from_json(RankRecord, self.layout.rank_record(rank).read_bytes())

    def wait_for_line(self, line: str, ranks: int) -> None:
        for rank in range(ranks):
            wait_until(functools.partial(self._has_line, line, rank), self.agent_log)

    def _has_line(self, line: str, rank: int) -> bool:
        return line in self.log(rank)

    def pids(self) -> list[int]:
        return [self.record(rank).pid for rank in range(sum(self.slots))]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(
    true: Callable[[], bool], explain: Callable[[], object] = str, timeout_s: float = 20
) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


Start = Callable[..., Agents]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Agents] = []

    def begin(text: str, *slots: int, **extra: str) -> Agents:
        started.append(Agents(tmp_path, text, slots or (2,), extra))
        return started[-1]

    yield begin
    for agents in started:
        agents.kill()


def test_an_unchanged_torchrun_script_trains_on_four_ranks(start: Start) -> None:
    agents = start(
        JOIN
        + """
import os, sys
assert sys.argv[1:] == ["--flag", "a b"]
assert t.item() == 4 == int(os.environ["WORLD_SIZE"]) == int(os.environ["LOCAL_WORLD_SIZE"])
assert os.environ["TORCHELASTIC_RUN_ID"] == "test" and dist.is_torchelastic_launched()
import random, numpy
drawn = [None] * 4
dist.all_gather_object(drawn, (random.random(), float(numpy.random.rand())))
assert len(set(drawn)) == 4 and len({second for _, second in drawn}) == 4
print("joined as", os.environ["RANK"])
""",
        4,
    )
    assert agents.wait() == [0], agents.log(0)
    for rank in range(4):
        assert agents.log(rank) == f"joined as {rank}\n"
        record = agents.record(rank)
        assert (record.state, record.exit_code) == (RankState.DONE, 0)
        assert (record.rank, record.local_rank, record.node) == (rank, rank, "local0")


def test_two_nodes_with_unequal_slots_form_one_world(start: Start) -> None:
    agents = start(
        JOIN
        + """
import os, time
names = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE")
print(*(os.environ[name] for name in names))
# The head's ranks end first: the others still need the store that its agent holds.
if os.environ["GROUP_RANK"] == "1":
    time.sleep(0.7)
    dist.distributed_c10d._get_default_store().add("still_there", 1)
""",
        2,
        1,
    )
    assert agents.wait() == [0, 0], agents.log(2, 1)
    assert [agents.log(0), agents.log(1), agents.log(2, 1)] == [
        "0 0 2 0 2\n",
        "1 1 2 0 2\n",
        "2 0 1 1 2\n",
    ]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6: sysctl net.ipv6")
def test_an_unchanged_script_meets_at_an_address_of_ipv6(start: Start) -> None:
    text = JOIN + "import os; print(os.environ['MASTER_ADDR'], t.item())"
    agents = start(text, 1, 1, ADDRESS="[::1]")
    assert agents.wait() == [0, 0], agents.agent_log()
    assert [agents.log(0), agents.log(1, node=1)] == ["::1 2.0\n"] * 2


def test_a_rank_without_the_secret_of_the_attempt_is_refused_by_name(start: Start) -> None:
    text = """
    import os
    os.environ["LAUNCHER_RUN_SECRET"] = os.environ["RANK"]
    from launcher import runtime
    runtime.init()
    """
    agents = start(text, 2)
    assert agents.wait() == [1]
    messages = [agents.record(rank).exception for rank in (0, 1)]
    assert any("rank of this attempt" in each.message for each in messages if each)


def test_one_failing_rank_ends_the_others_and_everybody_is_told(start: Start) -> None:
    agents = start(
        JOIN
        + """
if dist.get_rank() == 1:
    raise ValueError("the cause")
dist.all_reduce(t)
"""
    )
    assert agents.wait() == [1]
    cause, consequence = agents.record(1), agents.record(0)
    assert cause.exception is not None
    assert consequence.exception is not None
    assert cause.exception.message == "the cause"
    assert cause.exception.at < consequence.exception.at
    assert cause.state is consequence.state is RankState.FAILED


def test_a_rank_that_does_not_notice_a_failure_is_ended_with_its_stack_in_the_log(
    start: Start, tmp_path: Path
) -> None:
    agents = start(
        f"""
        import os, subprocess, time
        def sleeps_through_it():
            time.sleep(60)
        if os.environ["RANK"] == "1":
            left_behind = subprocess.Popen(["sleep", "600"])
            open({str(tmp_path / "child")!r}, "w").write(str(left_behind.pid))
            os._exit(3)
        sleeps_through_it()
        """
    )
    assert agents.wait() == [3]
    assert (agents.record(1).state, agents.record(1).exit_code) == (RankState.FAILED, 3)
    assert re.search(r"rank 1 \(process \d+\) exited with code 3", agents.agent_log())
    assert "sleeps_through_it" in agents.log(0)
    assert agents.record(0).signal == signal.SIGTERM
    assert is_gone(int((tmp_path / "child").read_text()))


def test_ranks_ended_by_a_signal_are_told_by_their_agent(start: Start) -> None:
    agents = start(
        """
        import os, signal, time
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ["RANK"] == "2":
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
        """,
        3,
    )
    assert agents.wait() == [128 + signal.SIGKILL]
    last, first, second = (agents.record(rank) for rank in range(3))
    assert (first.state, first.signal) == (RankState.FAILED, signal.SIGKILL)
    assert (second.state, second.signal) == (RankState.FAILED, signal.SIGSEGV)
    assert first.heartbeat_at < second.heartbeat_at < last.heartbeat_at
    assert "Segmentation fault" in agents.log(2)


SAVES = """
from launcher import runtime
import sys, time
ctx = runtime.init()
print("ready", flush=True)
for step in range(1, 2000):
    time.sleep(0.01)
    if ctx.should_stop():
        steps = ctx.engine.all_gather_object(step)
        assert len(set(steps)) == 1, steps
        time.sleep(0.5)  # saving
        ctx.leave_saved(step)
"""


def test_sigterm_to_the_agent_lets_all_ranks_save_at_the_same_step(start: Start) -> None:
    agents = start(SAVES)
    agents.wait_for_line("ready", 2)
    # Twice within a moment, as a batch system and a supervisor do together.
    agents.nodes[0].send_signal(signal.SIGTERM)
    time.sleep(0.1)
    agents.nodes[0].send_signal(signal.SIGTERM)
    assert agents.wait() == [0], agents.log(0)
    records = [agents.record(rank) for rank in range(2)]
    assert {record.state for record in records} == {RankState.SAVED}
    assert len({record.committed_step for record in records}) == 1


def test_one_signalled_rank_is_enough_for_all_to_save(start: Start) -> None:
    agents = start(SAVES)
    agents.wait_for_line("ready", 2)
    os.kill(agents.record(1).pid, signal.SIGUSR1)
    assert agents.wait() == [0]
    assert {agents.record(rank).state for rank in range(2)} == {RankState.SAVED}


IGNORES = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_second_sigterm_kills_the_ranks(start: Start) -> None:
    agents = start(IGNORES)
    agents.wait_for_line("ready", 2)
    agents.nodes[0].send_signal(signal.SIGTERM)
    time.sleep(1.2)
    assert agents.nodes[0].poll() is None
    agents.nodes[0].send_signal(signal.SIGTERM)
    assert agents.wait() == [128 + signal.SIGKILL]
    assert all(map(is_gone, agents.pids()))


def test_the_end_of_the_grace_period_kills_the_ranks(start: Start) -> None:
    agents = start(IGNORES, LAUNCHER_GRACE_S="0.5")
    agents.wait_for_line("ready", 2)
    agents.nodes[0].send_signal(signal.SIGTERM)
    assert agents.wait() == [128 + signal.SIGKILL]
    assert "still run after the grace period of 0.5 s: killing" in agents.agent_log()


def test_ranks_die_with_their_agent(start: Start) -> None:
    agents = start(IGNORES)
    agents.wait_for_line("ready", 2)
    pids = agents.pids()
    agents.nodes[0].kill()
    wait_until(lambda: all(map(is_gone, pids)), timeout_s=5)


def test_ranks_are_stopped_when_the_supervisor_is_gone(start: Start) -> None:
    agents = start(IGNORES, LAUNCHER_PARENT_PID="1", LAUNCHER_GRACE_S="0.5")
    assert agents.wait() != [0]
    assert "is gone" in agents.agent_log()


def test_data_loader_workers_survive_a_stop_of_all_processes(start: Start) -> None:
    agents = start(
        """
        import os, signal, torch
        from torch.utils.data import DataLoader
        from launcher import runtime
        ctx = runtime.init()
        loader = iter(DataLoader(list(range(64)), num_workers=2, batch_size=1))
        next(loader)
        # As a batch system does it: every process of the step, from outside.
        os.system(f"kill -TERM -{os.getpgrp()}")
        seen = 1 + sum(1 for _ in loader)
        print("batches", seen, "stop", ctx.should_stop())
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        for _ in range(3):
            optimizer.step()
        """,
        1,
    )
    assert agents.wait() == [0], agents.log(0)
    assert agents.log(0) == "batches 64 stop True\n"
    assert agents.record(0).step == 3


def test_a_busy_port_ends_the_head_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        found = subprocess.run(
            [*AGENT, "--rdzv-endpoint", f"127.0.0.1:{busy.getsockname()[1]}", "--", "none.py"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert found.returncode == 3
    assert "is in use" in found.stderr
    assert "Traceback" not in found.stderr


def test_slots_that_contradict_the_flags_are_refused() -> None:
    with pytest.raises(ConfigError, match="LAUNCHER_SLOTS"):
        parse(["--nproc-per-node", "2", "--", "x.py"], {"LAUNCHER_SLOTS": "3"})


def test_nodes_without_ranks_do_not_count_for_torchrun() -> None:
    argv = ["--nnodes", "2", "--node-rank", "1", "--nproc-per-node", "2", "--", "x.py", "--y"]
    request = parse(argv, {"LAUNCHER_SLOTS": "0,1,2", "LAUNCHER_NODE_RANK": "2"})
    assert [place.rank for place in request.places()] == [1, 2]
    assert {place.node_rank for place in request.places()} == {2}
    assert request.args == ("--y",)
