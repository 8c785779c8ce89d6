"""Commands about runs under Slurm, typed where Slurm's commands say what real ones said."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import config, runs
from launcher.runs import events
from launcher.runs.lock import SupervisorRecord
from launcher.specs import RunLayout, to_json
from tests.unit.slurm.conftest import command

pytestmark = pytest.mark.process

__all__ = ["command"]

SCRIPT = ("cluster=slurm", "recipe=script", "script=train.py", "device=cpu", "run_id=r")
_JOB = "JobId={id} JobName=r UserId=root(0) JobState={state} Reason={reason} ExitCode={code}:0\n"


@pytest.fixture(autouse=True)
def outside_of_any_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def slurm(command: Callable[..., Path]) -> Callable[..., dict[str, Path]]:
    """A cluster on which job 41 is in a state."""

    def make(state: str = "PENDING", reason: str = "None", code: int = 0) -> dict[str, Path]:
        job = _JOB.format(id=41, state=state, reason=reason, code=code)
        return {
            "sbatch": command("sbatch", out="41\n"),
            "scontrol": command("scontrol", out=job),
            "scancel": command("scancel"),
        }

    return make


@pytest.fixture
def run(here: Path) -> RunLayout:
    return RunLayout.of(here / "outputs", "r")


def test_outside_of_an_allocation_a_job_is_submitted_and_the_next_commands_are_told(
    types: Any, slurm: Any, run: RunLayout
) -> None:
    slurm()
    said = types(*SCRIPT, "nodes=4")
    assert said.code == 0, said.err
    rows = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert rows["job"] == "41"
    assert rows["log"] == str(run.jobs / "submitted-0001" / "slurm-41.log")
    assert rows["watch"] == "launcher status r"
    assert rows["stop"] == "launcher stop r"
    assert "--nodes=4" in (run.jobs / "submitted-0001" / "job.sbatch").read_text()


def test_overrides_reach_the_job_unchanged_and_outside_of_the_script(
    types: Any, slurm: Any, run: RunLayout
) -> None:
    slurm()
    hurtful = 'args=["$(touch hurt)","a; b","it\'s","`x`","new\nline"]'
    said = types(*SCRIPT, hurtful, "env.GREETING='a b; $(c)'")
    assert said.code == 0, said.err
    folder = run.jobs / "submitted-0001"
    script = (folder / "job.sbatch").read_text()
    assert "touch hurt" not in script
    loaded = config.load_saved(folder / "config.yaml")
    assert loaded.args == ("$(touch hurt)", "a; b", "it's", "`x`", "new\nline")
    assert loaded.env == {"GREETING": "a b; $(c)"}


def test_plan_prints_what_would_be_submitted_and_writes_nothing(
    types: Any, here: Path, run: RunLayout
) -> None:
    said = types("plan", *SCRIPT, "nodes=4", "cluster.slurm.array=1,3")
    assert said.code == 0, said.err
    assert "#SBATCH --array=1,3\n" in said.out
    assert "sbatch --parsable --output=" in said.out
    assert not (here / "outputs").exists()
    as_json = json.loads(types("plan", "--json", *SCRIPT).out)
    assert as_json["argv"][0] == "sbatch"
    assert as_json["script"].startswith("#!/bin/bash\n")


def test_where_there_is_no_slurm_the_way_out_is_told(
    types: Any, monkeypatch: pytest.MonkeyPatch, run: RunLayout
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    said = types(*SCRIPT)
    assert said.code == 3
    assert "`sbatch` is not installed on this machine" in said.err
    assert not run.path.exists()


def test_a_refusal_ends_with_3_and_slurms_own_words(
    types: Any, slurm: Any, command: Callable[..., Path], run: RunLayout
) -> None:
    slurm()
    command("sbatch", err="sbatch: error: Requested node configuration is not available", code=1)
    said = types(*SCRIPT, "cluster.slurm.gres=gpu:99")
    assert said.code == 3
    assert "Requested node configuration is not available" in said.err
    assert "sinfo" in said.err
    assert not run.path.exists()


def test_a_run_that_is_done_is_not_submitted_again(
    types: Any, slurm: Any, make_run: Callable[..., RunLayout]
) -> None:
    called = slurm()["sbatch"]
    make_run("r", "cluster=slurm", "device=cpu")
    said = types(*SCRIPT)
    assert (said.code, called.exists()) == (0, False)
    assert "already done" in said.out


def test_resume_submits_a_job_that_goes_on_as_the_run_was_configured(
    types: Any, slurm: Any, run: RunLayout
) -> None:
    slurm()
    types(*SCRIPT, "args=[1,2]", "nodes=4")
    said = types("resume", "r", "nodes=2")
    assert said.code == 0, said.err
    second = run.jobs / "submitted-0002"
    assert "--nodes=2" in (second / "job.sbatch").read_text()
    assert config.load_saved(second / "config.yaml").args == ("1", "2")


def test_every_run_of_a_sweep_is_a_job_of_its_own(types: Any, slurm: Any, here: Path) -> None:
    called = slurm()["sbatch"]
    said = types("-m", *SCRIPT, "train.seed=1,2")
    assert said.code == 0, said.err
    argvs = [json.loads(line)[0] for line in called.read_text().splitlines()]
    assert ["--test-only" in argv for argv in argvs] == [True, False] * 2
    assert {path.name for path in (here / "outputs" / "runs").iterdir()} == {"r-1", "r-2"}


def test_a_saved_configuration_that_is_not_there_is_an_error(types: Any) -> None:
    said = types("run", "--config", "nowhere.yaml")
    assert said.code == 2
    assert "nowhere.yaml" in said.err


def test_an_array_is_not_followed(types: Any, slurm: Any) -> None:
    called = slurm()["sbatch"]
    said = types(*SCRIPT, "cluster.wait=true", "cluster.slurm.array=0-3")
    assert (said.code, called.exists()) == (2, False)


@pytest.mark.parametrize(
    ("state", "code", "exit_code"),
    [
        ("COMPLETED", 0, 0),
        ("FAILED", 5, 5),
        ("FAILED", 76, 76),
        ("FAILED", 75, 75),
        ("CANCELLED", 0, 130),
        ("TIMEOUT", 0, 75),
        ("NODE_FAIL", 0, 5),
    ],
)
def test_a_job_that_is_followed_ends_with_the_exit_code_of_its_run(
    types: Any, slurm: Any, state: str, code: int, exit_code: int
) -> None:
    slurm(state, code=code)
    said = types(*SCRIPT, "cluster.wait=true")
    assert said.code == exit_code
    assert f"job 41: {state}" in said.out


def test_a_waiting_run_is_queued_and_says_why(types: Any, slurm: Any) -> None:
    slurm("PENDING", reason="Priority")
    types(*SCRIPT)
    said = types("status", "r")
    assert said.out.splitlines()[:2] == [
        "run         r: queued",
        "job         41: PENDING (Priority)",
    ]
    found = json.loads(types("status", "r", "--json").out)
    assert found["state"] == "queued"
    assert found["jobs"][0]["reason"] == "Priority"


def test_a_job_that_ended_before_the_launcher_started_is_failed_with_its_cause(
    types: Any, slurm: Any, here: Path
) -> None:
    slurm("FAILED", reason="JobLaunchFailure")
    types(*SCRIPT)
    log = here / "outputs/runs/r/jobs/submitted-0001/slurm-41.log"
    cause = "the job ended before the launcher started in it; its nodes could not write the log"
    assert types("status", "r").out.splitlines() == [
        "run         r: failed",
        "job         41: FAILED (JobLaunchFailure)",
        f"cause       {cause} {log}:",
        f"            do they see storage.root={here / 'outputs'}?",
        "next        submit it with storage.root= on storage that the nodes see;",
        "            if they see this one, `launcher resume r` submits it again",
    ]


def test_who_waits_for_a_job_that_never_started_hears_the_cause_and_of_no_log(
    types: Any, slurm: Any
) -> None:
    slurm("FAILED", reason="JobLaunchFailure")
    said = types(*SCRIPT, "cluster.wait=true")
    watched = said.out.split("job 41: FAILED (JobLaunchFailure)\n")[1].splitlines()
    assert watched[0] == "r: failed"
    assert watched[1].startswith("cause       the job ended before the launcher started in it")
    assert all(line.strip() for line in watched)
    assert not any(line.startswith("log ") for line in watched)


def test_a_job_in_which_the_launcher_failed_before_any_attempt_is_failed_and_names_its_log(
    types: Any, slurm: Any, run: RunLayout
) -> None:
    slurm("FAILED", reason="NonZeroExitCode", code=3)
    types(*SCRIPT)
    log = run.jobs / "submitted-0001" / "slurm-41.log"
    log.write_text("error: no GPU\n")
    assert types("status", "r").out.splitlines() == [
        "run         r: failed",
        f"job         41: FAILED (NonZeroExitCode), {log}",
    ]


def test_a_run_whose_waiting_job_was_cancelled_is_stopped_and_says_how_to_go_on(
    types: Any, slurm: Any, here: Path
) -> None:
    slurm("CANCELLED")
    elsewhere = f"storage.root={here / 'other'}"
    types(*SCRIPT, elsewhere)
    assert types("status", "r", elsewhere).out.splitlines() == [
        "run         r: stopped",
        "job         41: CANCELLED",
        f"next        `launcher resume r {elsewhere}` submits it again",
    ]
    assert json.loads(types("status", "r", "--json", elsewhere).out)["state"] == "stopped"
    assert "it is stopped" in types("stop", "r", elsewhere).out


def test_a_run_whose_job_slurm_has_forgotten_is_not_staging_for_ever(
    types: Any, slurm: Any, command: Callable[..., Path]
) -> None:
    slurm()
    types(*SCRIPT)
    command("scontrol", err="slurm_load_jobs error: Invalid job id specified\n", code=1)
    assert types("status", "r").out.splitlines() == [
        "run         r: lost",
        "job         41: over, Slurm no longer knows how it ended",
        "cause       the job ended before the launcher started in it",
        "next        `launcher resume r` submits it again",
    ]


def test_a_cancelled_job_leaves_the_state_of_a_run_that_has_attempts_alone(
    types: Any, slurm: Any, run: RunLayout
) -> None:
    slurm("CANCELLED")
    types(*SCRIPT)
    run.attempt(1).path.mkdir(parents=True)
    events.append(run.attempt(1).events, events.RunEnded(at=1.0, state="saved", exit_code=75))
    assert types("status", "r").out.startswith("run         r: saved\n")


def test_status_needs_no_slurm(types: Any, slurm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm()
    types(*SCRIPT)
    monkeypatch.setenv("PATH", "/nowhere")
    said = types("status", "r")
    assert said.code == 0
    assert "`scontrol` is not installed on this machine" in said.out


def test_stop_takes_a_waiting_run_out_of_the_queue(types: Any, slurm: Any) -> None:
    called = slurm("PENDING", reason="Resources")["scancel"]
    types(*SCRIPT)
    said = types("stop", "r")
    assert said.out == "cancelled job 41: PENDING (Resources)\n"
    assert json.loads(called.read_text())[0] == ["41"]


def test_stop_asks_a_run_that_is_supervised_and_cancels_only_what_waits(
    types: Any, slurm: Any, run: RunLayout
) -> None:
    called = slurm("RUNNING")["scancel"]
    types(*SCRIPT)
    supervised(run)
    said = types("stop", "r")
    assert "requested a stop of r (" in said.out
    assert not called.exists()
    assert runs.read_stop(run) is not None


def test_a_run_that_trains_is_stopped_from_a_machine_without_slurm(
    types: Any, slurm: Any, run: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm("RUNNING")
    types(*SCRIPT)
    supervised(run)
    monkeypatch.setenv("PATH", "/nowhere")
    said = types("stop", "r")
    assert said.code == 0
    assert runs.read_stop(run) is not None
    assert "cannot look for waiting jobs of this run" in said.err


def test_the_tasks_of_an_array_are_stopped_each_in_its_way(
    types: Any, command: Callable[..., Path], run: RunLayout
) -> None:
    command("sbatch", out="13\n")
    lines = [
        ("2-4", "PENDING", "Priority"),
        ("0", "RUNNING", "None"),
        ("1", "COMPLETED", "None"),
    ]
    out = "".join(
        f"JobId=13 ArrayJobId=13 ArrayTaskId={task} JobName=r UserId=x JobState={state} "
        f"Reason={reason}\n"
        for task, state, reason in lines
    )
    command("scontrol", out=out)
    called = command("scancel")
    types(*SCRIPT, "cluster.slurm.array=0-4")
    first = RunLayout(run.path.with_name("r-0"))
    first.path.mkdir()
    supervised(first)
    said = types("stop", "r")
    assert "requested a stop of r-0:" in said.out
    assert runs.read_stop(first) is not None
    assert [json.loads(line)[0] for line in called.read_text().splitlines()] == [["13_[2-4]"]]


def supervised(run: RunLayout) -> None:
    """Make the run look as if somebody supervised it on another host."""
    other = SupervisorRecord(
        pid=1,
        host=f"not-{socket.gethostname()}",
        process_started="1",
        heartbeat_at=time.time(),
        attempt=1,
    )
    run.supervisor.write_text(to_json(other))


def test_a_requeued_run_is_queued_although_it_was_saved(
    types: Any, slurm: Any, run: RunLayout
) -> None:
    slurm("PENDING", reason="BeginTime")
    types(*SCRIPT)
    run.attempt(1).path.mkdir(parents=True)
    saved = events.RunEnded(at=1.0, state="saved", exit_code=75)
    events.append(run.attempt(1).events, saved)
    assert types("status", "r").out.startswith("run         r: queued\njob         41: PENDING")
