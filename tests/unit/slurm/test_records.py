from __future__ import annotations

from launcher.slurm.records import JobRecord, note, note_own, read
from launcher.specs import RunLayout
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
