from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from launcher.errors import Interrupted, SavedForRequeue
from launcher.runs import request_stop
from launcher.specs import RunLayout
from launcher.supervise import preemptible
from launcher.supervise.stop_requests import Wishes


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "preempted", "insists"),
    [
        ([signal.SIGINT], False, False),
        ([signal.SIGINT, signal.SIGINT], False, True),
        ([signal.SIGTERM], True, False),
        ([signal.SIGTERM, signal.SIGTERM], True, True),
        ([signal.SIGUSR1, signal.SIGTERM], True, False),
        ([signal.SIGUSR1, signal.SIGUSR1], True, False),
        ([signal.SIGHUP], False, False),
        ([signal.SIGHUP, signal.SIGTERM], False, False),
        ([signal.SIGTERM, signal.SIGINT], True, True),
    ],
)
def test_what_signals_mean(
    layout: RunLayout, numbers: list[signal.Signals], preempted: bool, insists: bool
) -> None:
    with Wishes(layout) as wishes:
        for number in numbers:
            os.kill(os.getpid(), number)
        first = wishes.first
        assert first is not None
        assert first.preempted is preempted
        assert wishes.insists is insists


def test_ctrl_c_after_a_stop_request_insists(layout: RunLayout) -> None:
    with Wishes(layout) as wishes:
        request_stop(layout, reason="enough")
        wishes.look()
        assert wishes.first is not None
        assert wishes.first.reason == "enough"
        assert not wishes.insists
        os.kill(os.getpid(), signal.SIGINT)
        assert wishes.insists


def test_a_broken_stop_file_is_no_wish(layout: RunLayout) -> None:
    layout.stop.write_text("{")
    with Wishes(layout) as wishes:
        wishes.look()
        assert wishes.first is None


def test_under_nohup_a_closed_terminal_is_no_wish(layout: RunLayout) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Wishes(layout) as wishes:
            os.kill(os.getpid(), signal.SIGHUP)
            assert wishes.first is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_given_back(layout: RunLayout) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with Wishes(layout):
        pass
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    assert after == before


def is_hit_by(number: signal.Signals) -> None:
    with preemptible():
        os.kill(os.getpid(), number)
        signal.pause()


def is_hit_while_staging() -> None:
    with preemptible():
        try:
            is_hit_by(signal.SIGINT)
        except KeyboardInterrupt:
            raise Interrupted("staging was interrupted", hint="-") from None


def is_preempted_while_staging() -> None:
    with preemptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        except KeyboardInterrupt:
            raise Interrupted("staging was interrupted", hint="-") from None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_preemption_before_training_wants_to_be_started_again(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SavedForRequeue, match=number.name):
        is_hit_by(number)
    assert signal.getsignal(number) == before


def test_what_staging_makes_of_the_interruption_is_still_a_preemption() -> None:
    with pytest.raises(SavedForRequeue):
        is_preempted_while_staging()


def test_ctrl_c_stays_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt):
        is_hit_by(signal.SIGINT)
    with pytest.raises(Interrupted):
        is_hit_while_staging()
