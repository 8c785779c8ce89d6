from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from launcher import failures, runs
from launcher.errors import NotRequeueable, PreflightError, SavedForRequeue
from launcher.failures import FailureKind
from launcher.runs import events, lock
from launcher.runs.events import (
    AttemptEnded,
    AttemptStarted,
    HangSuspected,
    Killed,
    NodeExited,
    NodesChanged,
    RankFailed,
    RunEnded,
    StopRequested,
)
from launcher.runs.lock import SupervisorRecord
from launcher.specs import RankRecord, from_json, to_json
from launcher.specs.plan import Plan
from launcher.supervise import SuperviseConfig, Verdict
from tests.unit.supervise.conftest import FakeGenerations

if TYPE_CHECKING:
    Scene = Any

pytestmark = pytest.mark.process


def test_a_run_that_ends_well_is_done_with_0_and_leaves_its_whole_folder(scene: Scene) -> None:
    outcome = scene.run("done", "done", "done")
    assert (outcome.state, outcome.exit_code, outcome.attempts) == (Verdict.DONE, 0, 1)
    assert outcome.steps == 3
    assert outcome.result == {"accuracy": 0.5}
    assert outcome.first_failure is None
    folder = scene.layout.attempt(1)
    assert from_json(Plan, folder.plan.read_bytes()) == scene.plan_for(1)
    assert folder.plan.read_bytes() == scene.layout.plan.read_bytes()
    result = json.loads(scene.layout.result.read_text())
    assert (result["state"], result["exit_code"], result["steps"]) == ("done", 0, 3)
    assert result["result"] == {"accuracy": 0.5}
    assert result["seconds"]["stage"] == 1.5
    assert len(scene.layout.metrics.read_text().splitlines()) == 3
    assert scene.layout.report.stat().st_size > 0
    assert not scene.layout.supervisor.exists()
    assert runs.read_status(scene.layout).state == "done"


def test_the_observer_sees_events_records_and_the_output_of_rank_0(scene: Scene) -> None:
    scene.run("done", "done")
    recorder = scene.recorder
    assert [plan.attempt for plan in recorder.plans] == [1]
    assert recorder.lines == ["step 1", "step 2", "step 3"]
    assert [record.rank for record in recorder.snapshots[-1]] == [0, 1]
    names = [events.name_of(event) for event in recorder.events]
    assert names[0] == "attempt_started"
    assert names[-2:] == ["attempt_ended", "run_ended"]
    assert events.read(scene.layout.attempt(1).events) == recorder.events


def test_the_output_of_the_end_is_shown_whole_in_every_attempt(scene: Scene) -> None:
    assert scene.run("prints:300000:killed,prints:300000:done").attempts == 2
    logs = [scene.layout.attempt(number).rank_log(0, 0) for number in (1, 2)]
    written = [line for log in logs for line in log.read_text().split("\n") if line]
    assert scene.recorder.lines == written
    assert sum(line.startswith("line ") for line in written) == 600_000
    assert any(line.startswith("grandchild") for line in written)


def test_output_that_is_too_much_to_show_is_reported_with_its_file(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.supervise.watch._MOST_BEHIND", 100_000)
    scene.run("prints:300000:done")
    log = scene.layout.attempt(1).rank_log(0, 0)
    notes = [line for line in scene.recorder.lines if "omitted here" in line]
    assert notes
    assert all(str(log) in note for note in notes)
    assert scene.recorder.lines[-1] == log.read_text().removesuffix("\n").split("\n")[-1]


@pytest.mark.parametrize(
    ("number", "state", "code"),
    [
        (signal.SIGINT, Verdict.STOPPED, 130),
        (signal.SIGHUP, Verdict.STOPPED, 130),
        (signal.SIGTERM, Verdict.SAVED, 75),
        (signal.SIGUSR1, Verdict.SAVED, 75),
        (None, Verdict.STOPPED, 130),
    ],
)
def test_a_request_while_the_next_attempt_is_planned_ends_the_run(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, number: int | None, state: Verdict, code: int
) -> None:
    plan_for: Callable[[int], Plan] = scene.plan_for

    def planned(attempt: int) -> Plan:
        if attempt == 2 and number is None:
            runs.request_stop(scene.layout)
        elif attempt == 2 and number:
            os.kill(os.getpid(), number)
            signal.pause()  # as if a node did not answer
        return plan_for(attempt)

    monkeypatch.setattr(scene, "plan_for", planned)
    outcome = scene.run("killed", "peer")
    assert (outcome.state, outcome.exit_code, outcome.attempts) == (state, code, 1)
    assert str(runs.read_status(scene.layout).state) == state
    assert not scene.layout.attempt(2).path.exists()


def test_an_observer_that_breaks_does_not_end_the_run(scene: Scene) -> None:
    def broken(_: object) -> None:
        raise BrokenPipeError("the terminal is gone")

    scene.recorder.on_ranks = broken
    assert scene.run("done").exit_code == 0


def test_an_exception_without_a_commit_is_the_end_with_5_and_says_why(scene: Scene) -> None:
    outcome = scene.run("error", "peer", "peer")
    assert (outcome.state, outcome.exit_code, outcome.attempts) == (Verdict.FAILED, 5, 1)
    assert outcome.first_failure is not None
    assert outcome.first_failure.rank == 0
    assert outcome.first_failure.kind is FailureKind.EXCEPTION
    report = failures.why(scene.layout)
    assert "ValueError: boom" in report
    assert len(report.splitlines()) <= 40
    assert scene.recorder.of(RankFailed)[0].what == "ValueError: boom"
    (others,) = outcome.first_failure.others
    assert others.startswith("2 others (rank 1-2): RuntimeError: [gloo] Connection closed by peer")
    assert others.endswith("a consequence")
    (ended,) = scene.recorder.of(AttemptEnded)
    assert "would fail at the same place" in ended.why


def test_an_exception_after_a_commit_is_started_again(scene: Scene) -> None:
    outcome = scene.run("commit_then:error,done", "peer,done")
    assert (outcome.state, outcome.attempts) == (Verdict.DONE, 2)
    first, second = scene.recorder.of(AttemptStarted)
    assert (first.resumes_step, second.resumes_step) == (None, 1)
    assert (first.spent, second.spent) == ({"stage": 1.5}, {})
    assert scene.recorder.of(AttemptEnded)[0].restarting


def test_a_killed_rank_is_started_again_with_a_plan_of_its_own(scene: Scene) -> None:
    outcome = scene.run("done", "killed,done")
    assert (outcome.exit_code, outcome.attempts) == (0, 2)
    assert [plan.rendezvous.port for plan in scene.recorder.plans] == [20_001, 20_002]
    assert failures.first_failure(scene.layout, 1) is not None


def test_restarts_without_a_new_commit_end_with_76_when_the_budget_is_spent(scene: Scene) -> None:
    scene.config = SuperviseConfig(max_restarts=2, grace_s=1)
    outcome = scene.run("killed")
    assert (outcome.state, outcome.exit_code, outcome.attempts) == (Verdict.FAILED, 76, 3)


def test_a_lost_agent_is_reported_as_such_and_started_again(scene: Scene) -> None:
    outcome = scene.run("peer,done", "agent_dies,done")
    assert (outcome.exit_code, outcome.attempts) == (0, 2)
    failure = failures.first_failure(scene.layout, 1)
    assert failure is not None
    assert (failure.kind, failure.node_rank) == (FailureKind.AGENT_LOST, 1)


def test_ctrl_c_saves_and_leaves_with_130(scene: Scene) -> None:
    scene.send_when_training(signal.SIGINT)
    outcome = scene.run("train_until_stopped", "train_until_stopped")
    assert (outcome.state, outcome.exit_code) == (Verdict.STOPPED, 130)
    assert outcome.committed_step is not None
    (asked,) = scene.recorder.of(StopRequested)
    assert asked.reason == "Ctrl-C"
    assert not scene.recorder.of(Killed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_preemption_saves_and_leaves_with_75(scene: Scene, number: signal.Signals) -> None:
    scene.send_when_training(number)
    outcome = scene.run("train_until_stopped", "train_until_stopped")
    assert (outcome.state, outcome.exit_code) == (Verdict.SAVED, 75)


def test_a_closed_terminal_is_like_a_stop(scene: Scene) -> None:
    scene.send_when_training(signal.SIGHUP)
    outcome = scene.run("train_until_stopped")
    assert (outcome.state, outcome.exit_code) == (Verdict.STOPPED, 130)


def test_sigterm_after_sigusr1_lets_the_save_finish(scene: Scene) -> None:
    scene.send_when_training(signal.SIGUSR1, signal.SIGTERM)
    outcome = scene.run("save_slowly")
    assert (outcome.state, outcome.exit_code) == (Verdict.SAVED, 75)
    assert outcome.committed_step is not None


def test_a_second_ctrl_c_ends_everything_without_waiting_for_the_grace_period(scene: Scene) -> None:
    scene.send_when_training(signal.SIGINT, signal.SIGINT)
    outcome = scene.run("deaf", "deaf")
    assert (outcome.state, outcome.exit_code) == (Verdict.STOPPED, 130)
    (killed,) = scene.recorder.of(Killed)
    assert killed.reason == "a second stop request ends the run immediately"


def test_ranks_that_do_not_leave_within_the_grace_are_killed(scene: Scene) -> None:
    scene.config = SuperviseConfig(grace_s=0)
    scene.send_when_training(signal.SIGTERM)
    outcome = scene.run("deaf")
    assert outcome.exit_code == 75
    assert "grace_s" in scene.recorder.of(Killed)[0].reason


def test_a_script_that_cannot_save_is_stopped_and_not_failed(scene: Scene) -> None:
    scene.send_when_training(signal.SIGINT)
    outcome = scene.run("unaware", "unaware")
    assert (outcome.state, outcome.exit_code) == (Verdict.STOPPED, 130)
    assert not scene.recorder.of(RankFailed)


def test_a_save_that_fails_while_stopping_is_a_failure(scene: Scene) -> None:
    scene.send_when_training(signal.SIGTERM)
    outcome = scene.run("save_fails")
    assert (outcome.state, outcome.exit_code) == (Verdict.FAILED, 5)
    assert outcome.first_failure is not None
    assert outcome.first_failure.kind is FailureKind.DISK_FULL


def test_a_stop_file_is_obeyed_and_an_old_one_is_not(scene: Scene) -> None:
    scene.layout.path.mkdir(parents=True)
    runs.request_stop(scene.layout, reason="from last week")
    asked: list[runs.StopRequest] = []

    def ask(records: object) -> None:
        if not asked and len(scene.recorder.snapshots) > 2:
            asked.append(runs.request_stop(scene.layout, reason="enough"))

    scene.recorder.on_ranks = ask
    outcome = scene.run("train_until_stopped", "train_until_stopped")
    assert (outcome.state, outcome.exit_code) == (Verdict.STOPPED, 130)
    (stop,) = scene.recorder.of(StopRequested)
    assert (stop.by, stop.reason) == (asked[0].by, "enough")


def test_ranks_that_saved_because_they_were_signalled_directly_were_preempted(
    scene: Scene,
) -> None:
    def signal_rank(records: list[Any]) -> None:
        if records and records[0].step:
            scene.recorder.on_ranks = lambda _: None
            os.kill(records[0].pid, signal.SIGTERM)

    scene.recorder.on_ranks = signal_rank
    outcome = scene.run("train_until_stopped")
    assert (outcome.state, outcome.exit_code) == (Verdict.SAVED, 75)


def test_a_hung_rank_shows_its_stack_and_is_started_again(scene: Scene) -> None:
    scene.config = SuperviseConfig(grace_s=5, hang_timeout_s=1.0)
    outcome = scene.run("hang,done")
    assert (outcome.exit_code, outcome.attempts) == (0, 2)
    (hang,) = scene.recorder.of(HangSuspected)
    assert hang.stopping
    failure = failures.first_failure(scene.layout, 1)
    assert failure is not None
    assert failure.kind is FailureKind.HANG
    assert "stuck_in_the_loader" in failure.detail
    assert "after step 5" in failure.sentence


def test_a_rank_that_progresses_while_it_dumps_its_stack_is_not_stopped(scene: Scene) -> None:
    scene.config = SuperviseConfig(grace_s=5, hang_timeout_s=1.0)
    outcome = scene.run("late")
    assert (outcome.exit_code, outcome.attempts) == (0, 1)
    assert not any(hang.stopping for hang in scene.recorder.of(HangSuspected))
    assert scene.recorder.of(HangSuspected)


def test_a_program_that_reports_nothing_is_only_suspected(scene: Scene) -> None:
    scene.config = SuperviseConfig(grace_s=5, hang_timeout_s=0.2)
    outcome = scene.run("silent")
    assert outcome.exit_code == 0
    (hang,) = scene.recorder.of(HangSuspected)
    assert not hang.stopping


def test_a_rank_that_never_reports_is_a_failure_although_its_agent_exited_with_0(
    scene: Scene,
) -> None:
    outcome = scene.run("done", "no_record")
    assert (outcome.state, outcome.exit_code) == (Verdict.FAILED, 5)
    assert outcome.first_failure is not None
    assert outcome.first_failure.kind is FailureKind.NEVER_STARTED
    assert outcome.first_failure.rank == 1


def test_a_supervisor_that_loses_the_claim_of_an_attempt_leaves_the_run_to_the_winner(
    scene: Scene,
) -> None:
    """Two that start together do not see each other; only one of them gets the number."""
    assert scene.run("done").attempts == 1
    scene.generations.taken_by_others = {2}
    with pytest.raises(PreflightError, match="another supervisor just started attempt 2"):
        scene.run("done")
    assert not (scene.layout.attempt(2).path).exists()


def test_a_second_supervisor_is_refused(scene: Scene) -> None:
    scene.layout.path.mkdir(parents=True)
    code = (
        "import sys, time; from launcher.runs import lock; from launcher.specs import *;"
        "from pathlib import Path; lock.beat(RunLayout(Path(sys.argv[1])), attempt=1);"
        "print('ready', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(scene.layout.path)], stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    try:
        other.stdout.readline()
        with pytest.raises(PreflightError, match=f"process {other.pid} on"):
            scene.run("done")
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert scene.run("done").exit_code == 0


def test_a_command_that_cannot_start_ends_what_was_started(scene: Scene) -> None:
    plan_for = scene.plan_for

    def broken(attempt: int) -> Plan:

        plan: Plan = plan_for(attempt)
        bad = replace(plan.commands[1], argv=("/no/such/python",))
        return replace(plan, commands=(plan.commands[0], bad))

    scene.plan_for = broken
    with pytest.raises(PreflightError, match="/no/such/python"):
        scene.run("train_until_stopped", "done")
    assert runs.read_status(scene.layout).state == "failed"


def test_what_an_earlier_supervisor_left_behind_is_ended_before_the_start(scene: Scene) -> None:
    scene.layout.path.mkdir(parents=True)
    env = {"LAUNCHER_RUN_ID": "r1", "LAUNCHER_RUN_DIR": str(scene.layout.path)}
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, **env}
    )
    threading.Thread(target=orphan.wait).start()
    assert scene.run("done").exit_code == 0
    assert orphan.wait(5) == -9


def test_the_heartbeat_of_the_supervisor_is_there_while_it_runs(scene: Scene) -> None:
    alive = []
    scene.recorder.on_ranks = lambda _: alive.append(
        lock.is_alive(lock.read_supervisor(scene.layout))
    )
    scene.run("done")
    assert alive
    assert all(alive)


def test_the_end_is_the_last_event(scene: Scene) -> None:
    scene.run("done")
    assert isinstance(scene.recorder.events[-1], RunEnded)


def test_a_supervisor_that_was_replaced_ends_its_ranks_and_leaves_the_run_alone(
    scene: Scene,
) -> None:
    newcomer = SupervisorRecord(
        pid=1, host="elsewhere", process_started="1", heartbeat_at=time.time(), attempt=2
    )

    def taken_over(records: Sequence[RankRecord]) -> None:
        if records and records[0].step and scene.generations:
            scene.generations.claim(2, info={})
            scene.layout.supervisor.write_text(to_json(newcomer))

    scene.recorder.on_ranks = taken_over
    overdue = threading.Timer(60, runs.request_stop, [scene.layout])
    overdue.start()
    with pytest.raises(NotRequeueable, match="another supervisor started attempt 2"):
        scene.run("train_until_stopped", "train_until_stopped")
    overdue.cancel()
    assert [event.reason for event in scene.recorder.of(Killed)] == [
        "a newer attempt of this run has taken over"
    ]
    assert not scene.layout.result.exists()
    assert lock.read_supervisor(scene.layout) == newcomer


@pytest.mark.parametrize("behaviour", ["commit_then:error", "error"])
def test_a_failure_after_another_supervisor_took_over_is_not_reported(
    scene: Scene, behaviour: str
) -> None:
    def taken_over(records: Sequence[RankRecord]) -> None:
        if scene.generations and scene.recorder.of(NodeExited):  # the folder is not read again
            scene.generations.claim(2, info={})

    scene.recorder.on_ranks = taken_over
    with pytest.raises(NotRequeueable, match="taken over"):
        scene.run(behaviour)
    assert not scene.layout.result.exists()


def test_a_run_without_enough_nodes_waits_for_its_batch_job_to_bring_others(scene: Scene) -> None:
    plan_for = scene.plan_for

    def with_nodes_once(attempt: int) -> Plan:
        if attempt > 1:
            raise SavedForRequeue("1 of 2 nodes is left", hint="another start brings others")
        plan: Plan = plan_for(attempt)
        return plan

    scene.plan_for = with_nodes_once
    outcome = scene.run("commit_then:agent_dies")
    assert (outcome.state, outcome.exit_code) == (Verdict.SAVED, 75)
    assert outcome.committed_step == 1
    assert "1 of 2 nodes is left" in scene.recorder.of(RunEnded)[0].why


def test_a_supervisor_that_loses_the_next_attempt_leaves_the_run(scene: Scene) -> None:
    scene.layout.path.mkdir(parents=True)
    scene.generations = FakeGenerations(scene.layout)
    scene.generations.taken_by_others = {2}
    with pytest.raises(NotRequeueable, match="taken over"):
        scene.run("commit_then:error")
    assert not scene.layout.result.exists()


def test_too_few_nodes_for_a_restart_end_the_run_with_5_and_their_reasons(scene: Scene) -> None:
    whole: Callable[[int], Plan] = scene.plan_for

    def plan_for(attempt: int) -> Plan:
        if attempt == 1:
            return whole(attempt)
        raise PreflightError(
            "1 of 2 hosts can be used, cluster.min_nodes=2 were asked for",
            context="host1: no answer",
            hint="fix it",
        )

    scene.plan_for = plan_for
    outcome = scene.run("peer", "agent_dies")
    assert (outcome.state, outcome.exit_code, outcome.attempts) == (Verdict.FAILED, 5, 1)
    report = failures.why(scene.layout)
    assert "NOT RESTARTED" in report
    assert "host1: no answer" in report
    assert "cluster.min_nodes=2" in scene.recorder.of(RunEnded)[0].why
    assert runs.read_status(scene.layout).state == "failed"


def test_a_restart_on_other_nodes_says_which(scene: Scene) -> None:
    whole: Callable[[int], Plan] = scene.plan_for

    def plan_for(attempt: int) -> Plan:
        scene.behaviours = ("peer,done", "agent_dies,done")[: 2 if attempt == 1 else 1]
        return whole(attempt)

    scene.plan_for = plan_for
    assert scene.run("peer,done", "agent_dies,done").exit_code == 0
    (changed,) = scene.recorder.of(NodesChanged)
    assert changed.sentence == "continues with 1 of 2 nodes: without local1"


def test_a_restart_that_cannot_start_is_tried_again(scene: Scene) -> None:
    whole: Callable[[int], Plan] = scene.plan_for

    def plan_for(attempt: int) -> Plan:
        plan: Plan = whole(attempt)
        if attempt != 2:
            return plan
        commands = tuple(replace(each, argv=("/no/such/program",)) for each in plan.commands)
        return replace(plan, commands=commands)

    scene.plan_for = plan_for
    outcome = scene.run("agent_dies,done")
    assert (outcome.exit_code, outcome.attempts) == (0, 3)
    failure = failures.first_failure(scene.layout, 2)
    assert failure is not None
    assert (failure.kind, "/no/such/program" in failure.detail) == (FailureKind.NODE_LOST, True)
