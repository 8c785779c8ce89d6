from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from launcher.errors import PreflightError
from launcher.preflight import Check, Problem, Subject
from launcher.preflight.run import run_all


def sound(subject: Subject) -> Iterator[Problem]:
    yield from ()


def broken(subject: Subject) -> Iterator[Problem]:
    raise RuntimeError("oops")


def two_problems(subject: Subject) -> Iterator[Problem]:
    yield Problem(what="first problem", hint="do this")
    yield Problem(what="second problem", hint="do that")


def test_results_come_in_the_order_of_the_checks(subject: Subject) -> None:
    checks = [Check(name="one", find=sound), Check(name="other", find=sound)]
    results = run_all(checks, subject, timeout_s=60)
    assert [(each.name, each.problems) for each in results] == [("one", ()), ("other", ())]


def test_a_check_that_hangs_is_a_problem(subject: Subject) -> None:
    over = threading.Event()

    def hang(subject: Subject) -> Iterator[Problem]:
        assert over.wait(60), "the caller waited for the check"
        yield from ()

    with pytest.raises(PreflightError, match=r"no answer within 0\.1 s"):
        run_all([Check(name="slow", find=hang)], subject, timeout_s=0.1)
    over.set()


def test_all_problems_are_reported_together_each_with_what_to_do(subject: Subject) -> None:
    checks = [Check(name="broken", find=broken), Check(name="two", find=two_problems)]
    with pytest.raises(PreflightError) as caught:
        run_all(checks, subject, timeout_s=60)
    assert caught.value.message == "3 checks failed; nothing was started"
    assert caught.value.exit_code == 3
    for text in ("RuntimeError: oops", "first problem", "do this", "second problem", "do that"):
        assert text in caught.value.context
