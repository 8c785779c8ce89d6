"""The supervisor over the real agent, with real ranks in a real process group."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from launcher import failures, plan, processes, runs
from launcher.failures import FailureKind
from launcher.specs import CheckpointPolicy, Plan, Program, RankRecord, RunLayout
from launcher.supervise import NoObserver, RunResult, SuperviseConfig, Verdict, run
from launcher.supervise.run_processes import reap
from tests.nodes_request import cluster_for, nodes_request

pytestmark = [pytest.mark.e2e, pytest.mark.process]

PROGRAM = """
import os, sys, time, torch
from launcher import runtime

mode = sys.argv[1]
context = runtime.init()
with context.phase("train"):
    for step in range(1, 2000 if mode == "long" else 11):
        value = context.engine.all_reduce(torch.ones(1))
        context.log_step(step=step, total_steps=10, epoch=0.0, loss=float(value), lr=0.1,
                         samples=2, step_time_s=0.05)
        print("step", step)
        time.sleep(0.05)
        if mode == "raise" and context.rank == 1 and step == 5:
            raise KeyError("label")
        if mode == "kill" and context.rank == 1 and step == 5 and context.attempt == 1:
            os.kill(os.getpid(), 9)
        if context.should_stop():
            context.leave_saved(step)
context.finish({"sum": float(value)})
"""


class Watcher(NoObserver):
    """Does something once all ranks train."""

    def __init__(self, act: Callable[[Sequence[RankRecord]], None]) -> None:
        self._act = act
        self._done = False

    def ranks(self, records: Sequence[RankRecord]) -> None:
        if not self._done and len(records) == 2 and all(record.step > 3 for record in records):
            self._done = True
            threading.Thread(target=self._act, args=(list(records),)).start()


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    # The rendezvous port depends on the run id, and other tests may run beside this one.
    made = RunLayout.of(tmp_path / "outputs", f"r-{os.getpid()}-{time.time_ns()}")
    made.path.mkdir(parents=True)
    return made


def supervise(
    layout: RunLayout, mode: str, act: Callable[[Sequence[RankRecord]], None] = lambda _: None
) -> RunResult:
    program = layout.path / "program.py"
    program.write_text(PROGRAM)

    def plan_for(attempt: int) -> Plan:
        return plan.build(
            plan.PlanRequest(
                run_id=layout.run_id,
                attempt=attempt,
                storage_root=str(layout.path.parent.parent),
                cluster=cluster_for(nodes_request("local", nodes=2, slots=1, device="cpu")),
                backend="torchrun",
                program=Program(path=str(program), args=(mode,)),
                python=sys.executable,
                cwd=str(layout.path),
                checkpoint=CheckpointPolicy(every_steps=0, keep=2, resume="auto"),
            )
        )

    outcome = run(
        plan_for,
        layout=layout,
        config=SuperviseConfig(grace_s=30),
        observer=Watcher(act),
    )
    assert reap(layout) == []
    return outcome


def test_a_run_is_done_with_its_result_metrics_and_report(layout: RunLayout) -> None:
    outcome = supervise(layout, "short")
    assert (outcome.state, outcome.exit_code, outcome.steps) == (Verdict.DONE, 0, 10)
    assert outcome.result == {"sum": 2.0}
    assert len(layout.metrics.read_text().splitlines()) == 10
    assert "samples/s" in layout.report.read_text()
    assert set(outcome.seconds) >= {"start", "train"}


def test_ctrl_c_lets_all_ranks_leave_at_the_same_step(layout: RunLayout) -> None:
    outcome = supervise(layout, "long", lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert (outcome.state, outcome.exit_code) == (Verdict.STOPPED, 130)
    records = runs.read_ranks(layout, 1)
    assert len({record.step for record in records}) == 1
    assert {record.state for record in records} == {"saved"}


def test_the_exception_of_one_rank_is_reported_and_its_peer_is_folded(layout: RunLayout) -> None:
    outcome = supervise(layout, "raise")
    assert (outcome.state, outcome.exit_code) == (Verdict.FAILED, 5)
    assert outcome.first_failure is not None
    assert outcome.first_failure.rank == 1
    assert "KeyError: 'label'" in outcome.first_failure.sentence
    assert "program.py" in outcome.first_failure.detail
    assert len(outcome.first_failure.others) == 1


def test_a_killed_rank_is_found_and_the_run_restarts(layout: RunLayout) -> None:
    outcome = supervise(layout, "kill")
    assert (outcome.state, outcome.attempts) == (Verdict.DONE, 2)
    failure = failures.first_failure(layout, 1)
    assert failure is not None
    assert (failure.kind, failure.rank) == (FailureKind.OUT_OF_MEMORY, 1)


def test_a_killed_agent_takes_its_ranks_along_and_is_reported(layout: RunLayout) -> None:
    def kill_agent(records: Sequence[RankRecord]) -> None:
        rank = processes.find(records[1].pid)
        assert rank is not None
        os.kill(rank.parent, signal.SIGKILL)
        time.sleep(1)
        runs.request_stop(layout)  # one attempt is enough

    outcome = supervise(layout, "long", kill_agent)
    failure = failures.first_failure(layout, 1)
    assert failure is not None
    assert (failure.kind, failure.node_rank) == (FailureKind.AGENT_LOST, 1)
    assert outcome.exit_code == 130
