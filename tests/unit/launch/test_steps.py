"""What the table of contents itself decides: who starts a run again, and under which name."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher import config, launch, processes, slurm, supervise
from launcher.config import LaunchConfig
from launcher.errors import ConfigError, Interrupted, LauncherError, PreflightError, SavedForRequeue
from launcher.runs import events, request_stop
from launcher.specs import RunLayout
from launcher.staging.progress import NoProgress
from tests.unit.slurm.conftest import command

__all__ = ["command"]

_JOB = "JobId=7 JobName=r UserId=root(0) JobState=RUNNING Reason=None ExitCode=0:0\n"


@pytest.fixture(autouse=True)
def signals_are_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LaunchConfig]:
    (tmp_path / "train.py").write_text("raise SystemExit('nothing is to be started here')\n")

    def with_overrides(*overrides: str) -> LaunchConfig:
        words = ("recipe=script", "script=train.py", "device=cpu", *overrides)
        return config.load(words, cwd=tmp_path)

    return with_overrides


@pytest.fixture
def in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {
        "SLURM_JOB_ID": "7",
        "SLURM_CLUSTER_NAME": "lab",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_CPUS_PER_NODE": "1",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def run_and_receive(chosen: LaunchConfig, number: int) -> SavedForRequeue:
    """Run until the plan is told, and get a signal then."""
    with pytest.raises(SavedForRequeue) as caught:
        launch.run(
            chosen,
            observer=supervise.NoObserver(),
            progress=NoProgress(),
            on_plan=lambda _: os.kill(os.getpid(), number),
        )
    return caught.value


def test_a_preemption_before_the_first_rank_wants_another_start(
    load: Callable[..., LaunchConfig],
) -> None:
    error = run_and_receive(load("run_id=r"), signal.SIGTERM)
    assert "before training started" in error.message
    assert error.exit_code == 75


@pytest.mark.process
@pytest.mark.parametrize(("wanted", "asked"), [("true", [["requeue", "7"]]), ("false", [])])
def test_in_a_job_slurm_is_asked_for_it_unless_that_is_switched_off(
    load: Callable[..., LaunchConfig],
    command: Callable[..., Path],
    in_a_job: None,
    wanted: str,
    asked: list[list[str]],
) -> None:
    called = command("scontrol", out=_JOB)
    chosen = load("cluster=slurm", "cluster.probe=false", f"cluster.slurm.requeue={wanted}")
    error = run_and_receive(chosen, signal.SIGUSR1)
    lines = called.read_text().splitlines() if called.exists() else []
    assert [each for each in (json.loads(line)[0] for line in lines) if "requeue" in each] == asked
    assert ("Slurm requeues job 7" in error.hint) == bool(asked)


@pytest.mark.usefixtures("in_a_job")
def test_one_of_several_launchers_does_not_take_the_run(
    load: Callable[..., LaunchConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_TASK_PID", str(os.getpid()))
    monkeypatch.setenv("SLURM_PTY_PORT", "40000")
    monkeypatch.setattr(processes, "find", lambda _: None)  # however the tests were started
    monkeypatch.setattr(supervise, "prepare", lambda *_: pytest.fail("it took the run"))
    chosen = load("cluster=slurm", "run_id=r")
    with pytest.raises(ConfigError, match="srun started the launcher 4 times"):
        launch.run(chosen, observer=supervise.NoObserver(), progress=NoProgress())


def test_only_outside_of_a_job_one_is_submitted(
    load: Callable[..., LaunchConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert launch.submits(load("cluster=slurm"))
    assert not launch.submits(load())
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert not launch.submits(load("cluster=slurm"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("script=trian.py",), "trian.py does not exist"),
        (("script=", "module=absent.train"), "no module named `absent`"),
    ],
)
def test_a_job_whose_program_is_missing_is_not_submitted(
    load: Callable[..., LaunchConfig],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    chosen = load("cluster=slurm", "run_id=r", *words)
    with pytest.raises(PreflightError, match=message):
        launch.submit(chosen, progress=NoProgress())
    assert not (tmp_path / "outputs").exists()


def test_a_later_job_is_warned_by_how_long_saves_took(
    load: Callable[..., LaunchConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    chosen = load("cluster=slurm", "run_id=r", "supervise.grace_s=20")
    first = launch.submission(chosen)
    assert "--signal=B:USR1@60" in first.script
    attempt = first.layout.attempt(1)
    attempt.path.mkdir(parents=True)
    attempt.metrics.write_text('{"step": 5, "at": 100.0}\n')
    events.append(attempt.events, events.Committed(at=200.0, step=5))
    second = launch.submission(chosen)
    assert "--signal=B:USR1@330" in second.script
    assert "grace_s: 300.0" in second.config


def test_the_runs_of_a_sweep_have_the_same_names_at_each_start_of_their_job(
    load: Callable[..., LaunchConfig], in_a_job: None
) -> None:
    chosen = load("cluster=slurm")
    assert launch.numbered(chosen, 2).run_id == "script-7-2"
    assert launch.numbered(load("cluster=slurm", "run_id=mine"), 2).run_id == "mine"
    assert launch.numbered(load(), 2).run_id == ""


def test_the_plan_of_a_run_made_longer_says_so(load: Callable[..., LaunchConfig]) -> None:
    short = load("run_id=r", "train.epochs=1")
    layout = RunLayout.of(short.storage.root, "r")
    layout.path.mkdir(parents=True)
    layout.config.write_text(config.dump(short))
    long = ("run_id=r", "train.epochs=3")
    (note,) = launch.plan(load(*long)).notes
    assert "train.epochs from 1 to 3" in note
    assert launch.plan(short).notes == launch.plan(load(*long, "resume=never")).notes == ()


class NothingIsStaged(NoProgress):
    def started(self, item_name: str, uri: str, total_bytes: int | None) -> None:
        pytest.fail(f"{item_name} is staged")


@pytest.mark.process
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ("cluster.wait=false", "sbatch` is not installed"),
        ("cluster.slurm.partition=gqu", "Slurm refuses the job"),
        ("script=trian.py", "trian.py does not exist"),
        ("backend=horovod", "horovod"),
    ],
)
def test_what_slurm_or_this_machine_refuses_is_refused_before_anything_is_written(
    load: Callable[..., LaunchConfig],
    command: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changed: str,
    error: str,
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build.py").write_text("raise SystemExit('nothing is to be built here')\n")
    called = tmp_path / "sbatch.called"
    if "refuses" in error:
        command("sbatch", err="allocation failure: Invalid partition name specified\n", code=1)
    else:
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    data = ("data.name=d", f"data.source=build://{tmp_path}/build.py")
    chosen = load("cluster=slurm", "run_id=r", *data, changed)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LauncherError, match=error):
        launch.submit(chosen, progress=NothingIsStaged())
    assert sorted(set(tmp_path.rglob("*")) - {called}) == before


@pytest.mark.process
@pytest.mark.parametrize(
    "answer",
    [
        "allocation failure: Requested node configuration is not available",
        "allocation failure: Socket timed out on send/recv operation",
    ],
)
def test_an_answer_that_is_not_certain_is_left_to_the_submission(
    load: Callable[..., LaunchConfig],
    command: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: str,
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    called = command("sbatch", err=f"{answer}\n", code=1)
    with pytest.raises(LauncherError, match="Slurm refuses"):
        launch.submit(load("cluster=slurm", "run_id=r"), progress=NoProgress())
    asked = [json.loads(line)[0] for line in called.read_text().splitlines()]
    assert ["--test-only" in argv for argv in asked] == [True, False]


@pytest.mark.process
def test_a_stop_while_slurm_is_asked_cancels_the_job(
    load: Callable[..., LaunchConfig],
    command: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    command("sbatch", out="41\n")
    cancelled = command("scancel")
    chosen = load("cluster=slurm", "run_id=r")
    layout = RunLayout.of(chosen.storage.root, "r")
    submitting = slurm.submit

    def submit_late(submission: slurm.Submission) -> slurm.Submitted:
        request_stop(layout)
        return submitting(submission)

    monkeypatch.setattr(slurm, "submit", submit_late)
    with pytest.raises(Interrupted, match="stopped the run"):
        launch.submit(chosen, progress=NoProgress())
    assert [json.loads(line)[0] for line in cancelled.read_text().splitlines()] == [["41"]]
