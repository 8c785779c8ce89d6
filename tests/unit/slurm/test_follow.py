from __future__ import annotations

from collections.abc import Iterator

import pytest

from launcher.errors import PreflightError
from launcher.slurm.control import JobInfo
from launcher.slurm.follow import follow


def states(*answers: str | None) -> Iterator[JobInfo]:
    """Follow a job that is so and so at each look; None is no answer, "" a forgotten job."""
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


def test_a_controller_that_stays_away_is_told() -> None:
    with pytest.raises(PreflightError):
        list(states(*([None] * 1000)))


def test_a_forgotten_job_ends_it() -> None:
    assert [info.state for info in states("RUNNING", "")] == ["RUNNING"]
