from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from launcher.config.schema import check_run_id
from launcher.slurm.jobs import JobRecord, note, note_own, read, resume_of, run_id_of
from launcher.specs import Job, RunLayout
from tests.unit.slurm.conftest import JOB


def test_a_job_that_was_submitted_by_us_keeps_its_log(layout: RunLayout) -> None:
    note(layout, JobRecord(cluster="lab", job_id="7", log="/x.log"))
    note_own(layout, JOB)
    assert read(layout) == [JobRecord(cluster="lab", job_id="7", log="/x.log")]


def test_a_job_that_somebody_else_submitted_is_noted_when_it_starts(layout: RunLayout) -> None:
    note_own(layout, JOB)
    assert read(layout) == [JobRecord(cluster="lab", job_id="7")]


def test_a_record_that_is_being_written_is_left_out(layout: RunLayout) -> None:
    note_own(layout, JOB)
    (layout.jobs / "8.json").write_text('{"cluster"')
    assert [each.job_id for each in read(layout)] == ["7"]


TASK = Job(cluster="lab", job_id="120_5")


@pytest.mark.parametrize(
    ("job", "given", "run_id"),
    [
        (JOB, "", "bert-7"),
        (replace(JOB, restarts=3), "", "bert-7"),
        (JOB, "mine", "mine"),  # two jobs can resume one run
        (TASK, "", "bert-120_5"),
        (TASK, "mine", "mine-5"),  # but each array task has its own
    ],
)
def test_a_job_names_the_same_run_at_each_of_its_starts(job: Job, given: str, run_id: str) -> None:
    assert run_id_of(job, given, "bert") == run_id
    check_run_id(run_id)


@pytest.mark.parametrize("resume", ["never", "120"])
def test_only_the_first_start_of_a_job_begins_where_the_person_said(
    layout: RunLayout, attempt: Callable[..., None], resume: str
) -> None:
    attempt(1, job=Job(cluster="lab", job_id="6"))
    assert resume_of(layout, JOB, resume) == resume
    attempt(2, job=JOB)
    assert resume_of(layout, replace(JOB, restarts=1), resume) == "auto"


def test_who_insists_on_a_checkpoint_does_so_at_every_start(
    layout: RunLayout, attempt: Callable[..., None]
) -> None:
    attempt(1)
    assert resume_of(layout, JOB, "required") == "required"
