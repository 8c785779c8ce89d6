from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.slurm.requeue import requeue, starts_in_vain
from launcher.specs import Job, RunLayout
from tests.unit.slurm.conftest import JOB


@pytest.fixture
def scontrol(tmp_path: Path, command: Callable[..., Path]) -> Callable[[str], Path]:
    def show(state: str, reason: str = "None") -> Path:
        line = f"JobId=7 JobName=x UserId=root(0) JobState={state} Reason={reason} ExitCode=0:0\n"
        return command("scontrol", out=line)

    return show


def calls(called: Path) -> list[list[str]]:
    return [json.loads(line)[0] for line in called.read_text().splitlines()]


@pytest.mark.process
@pytest.mark.parametrize("name", ["7", "120_5"])
def test_exactly_this_job_or_task_is_started_again(
    layout: RunLayout, scontrol: Callable[..., Path], name: str
) -> None:
    called = scontrol("RUNNING")
    answer = requeue(Job(cluster="lab", job_id=name), layout)
    assert answer.granted
    assert answer.why == f"Slurm requeues job {name}"
    assert calls(called)[-1] == ["requeue", name]


@pytest.mark.process
@pytest.mark.parametrize(
    ("state", "reason", "granted"),
    [
        ("RUNNING", "None", True),
        ("COMPLETING", "TimeLimit", True),  # the save took until the very end
        ("COMPLETING", "None", False),  # cancelled: it would come back to life
        ("CANCELLED", "None", False),
        ("PENDING", "BeginTime", False),  # preempted: Slurm starts it again anyway
    ],
)
def test_a_job_that_slurm_has_decided_about_is_left_alone(
    layout: RunLayout, scontrol: Callable[..., Path], state: str, reason: str, granted: bool
) -> None:
    called = scontrol(state, reason)
    assert requeue(JOB, layout).granted == granted
    assert (["requeue", "7"] in calls(called)) == granted


@pytest.mark.process
def test_a_refusal_quotes_slurm(
    layout: RunLayout, tmp_path: Path, scontrol: Callable[..., Path]
) -> None:
    scontrol("RUNNING")
    path = tmp_path / "bin" / "scontrol"
    path.write_text(
        path.read_text().replace(
            "import json, os, sys\n",
            "import json, os, sys\n"
            "if sys.argv[1] == 'requeue':\n"
            "    sys.exit('Requested operation is presently disabled for job 7')\n",
        )
    )
    answer = requeue(JOB, layout)
    assert not answer.granted
    assert "presently disabled" in answer.why


@pytest.mark.process
def test_three_starts_without_a_new_checkpoint_are_enough(
    layout: RunLayout, attempt: Callable[..., None], scontrol: Callable[..., Path]
) -> None:
    called = scontrol("RUNNING")
    attempt(1, resumes=None, committed=40)
    for number in (2, 3):
        attempt(number, job=replace(JOB, restarts=number - 1), resumes=40, committed=40)
    assert requeue(JOB, layout).granted
    attempt(4, job=replace(JOB, restarts=3), resumes=40, committed=40)
    answer = requeue(JOB, layout)
    assert not answer.granted
    assert "3 starts of job 7 in a row made no new checkpoint" in answer.why
    assert calls(called).count(["requeue", "7"]) == 1


def test_what_one_start_of_a_job_tried_again_counts_once(
    layout: RunLayout, attempt: Callable[..., None]
) -> None:
    attempt(1, resumes=None, committed=40)
    attempt(2, resumes=40, committed=40)
    assert starts_in_vain(layout, JOB) == 0
    for number in (3, 4, 5):
        attempt(number, job=replace(JOB, restarts=1), resumes=40, committed=40)
    assert starts_in_vain(layout, JOB) == 1


def test_other_jobs_and_starts_that_were_cut_off_do_not_count(
    layout: RunLayout, attempt: Callable[..., None]
) -> None:
    attempt(1)
    attempt(2, job=None)
    attempt(3, ended=False)
    assert starts_in_vain(layout, JOB) == 0
    attempt(4, job=replace(JOB, restarts=1))
    assert starts_in_vain(layout, JOB) == 1


@pytest.mark.process
def test_where_slurm_cannot_be_asked_the_run_is_saved_all_the_same(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    answer = requeue(JOB, layout)
    assert not answer.granted
    assert "`scontrol` is not installed" in answer.why
