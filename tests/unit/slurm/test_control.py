"""The texts are those of Slurm 22.05, shortened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.slurm.control import JobInfo, call, cancel, follow, look, parse_jobs

_RUNNING = (
    "JobId=7 JobName=a JobState=FAILED b UserId=root(0) Priority=1 JobState=RUNNING Reason=None "
    "Requeue=1 Restarts=1 ExitCode=0:0 RunTime=00:00:04 StartTime=2026-11-24T00:08:48 "
    "ReqNodeList=(null) ExcNodeList=host9 NodeList=host[1-2] BatchHost=host1 Comment=JobState=X\n"
)
_ARRAY = (
    "JobId=13 ArrayJobId=13 ArrayTaskId=2-4%1 JobName=x UserId=root(0) JobState=PENDING "
    "Reason=Priority Restarts=0 ExitCode=0:0 StartTime=Unknown NodeList=(null)\n"
    "JobId=15 ArrayJobId=13 ArrayTaskId=1 JobName=x UserId=root(0) JobState=FAILED "
    "Reason=NonZeroExitCode Restarts=0 ExitCode=76:0 NodeList=host4\n"
)


def test_a_name_or_a_comment_cannot_pretend_to_be_the_state() -> None:
    assert parse_jobs(_RUNNING) == (
        JobInfo(
            job_id="7",
            state="RUNNING",
            nodes="host[1-2]",
            starts="2026-11-24T00:08:48",
            restarts=1,
        ),
    )


def test_the_tasks_of_an_array_are_told_apart() -> None:
    waiting, failed = parse_jobs(_ARRAY)
    assert (waiting.job_id, waiting.task, waiting.waiting) == ("13_2-4%1", "2-4%1", True)
    assert (failed.job_id, failed.over, failed.exit_code) == ("13_1", True, 76)
    assert str(waiting) == "job 13_2-4%1: PENDING (Priority)"


@pytest.mark.process
def test_a_job_that_slurm_has_forgotten_is_nothing(command: Callable[..., Path]) -> None:
    command("scontrol", err="slurm_load_jobs error: Invalid job id specified\n", code=1)
    assert look("7") == ()


@pytest.mark.process
def test_a_controller_that_does_not_answer_is_quoted(
    command: Callable[..., Path],
) -> None:
    command("scontrol", err="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    with pytest.raises(PreflightError, match="the state of job 7") as caught:
        look("7")
    assert "Unable to contact slurm controller" in caught.value.context


@pytest.mark.process
@pytest.mark.parametrize(
    ("job_id", "asked"), [("7", "7"), ("13_2", "13_[2]"), ("13_2-4%1", "13_[2-4]")]
)
def test_only_the_named_tasks_are_cancelled(
    command: Callable[..., Path], job_id: str, asked: str
) -> None:
    called = command("scancel")
    cancel(job_id)
    assert json.loads(called.read_text())[0] == [asked]


@pytest.mark.process
def test_a_machine_without_slurm_gets_a_hint() -> None:
    with pytest.raises(PreflightError, match="`sbatch-nowhere` is not installed") as caught:
        call(["sbatch-nowhere"])
    assert "login node" in caught.value.hint


def states(*answers: str | None) -> Iterator[JobInfo]:
    """Follow a job with these states; None means no answer, "" a forgotten job."""
    given = iter(answers)

    def ask(job_id: str) -> tuple[JobInfo, ...]:
        state = next(given)
        if state is None:
            raise PreflightError("no answer", hint="wait")
        return (JobInfo(job_id=job_id, state=state),) if state else ()

    return follow("7", ask=ask, sleep=lambda _: None)


def test_a_job_is_followed_through_another_start_to_its_end() -> None:
    seen = [info.state for info in states("PENDING", "RUNNING", "PENDING", "RUNNING", "COMPLETED")]
    assert seen == ["PENDING", "RUNNING", "PENDING", "RUNNING", "COMPLETED"]


def test_a_controller_that_is_away_for_a_moment_ends_nothing() -> None:
    assert [info.state for info in states("RUNNING", None, None, "COMPLETED")][-1] == "COMPLETED"


def test_a_controller_that_stays_away_is_reported() -> None:
    with pytest.raises(PreflightError):
        list(states(*([None] * 1000)))


def test_a_forgotten_job_ends_it() -> None:
    assert [info.state for info in states("RUNNING", "")] == ["RUNNING"]
