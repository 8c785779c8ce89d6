from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from launcher.runs import request_stop
from launcher.specs import RunLayout
from launcher.supervise.stop_requests import StopRequests


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "preempted", "forced"),
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
    layout: RunLayout, numbers: list[signal.Signals], preempted: bool, forced: bool
) -> None:
    with StopRequests(layout) as requests:
        for number in numbers:
            os.kill(os.getpid(), number)
        first = requests.first
        assert first is not None
        assert first.preempted is preempted
        assert requests.forced is forced


def test_ctrl_c_after_a_stop_request_forces_the_end(layout: RunLayout) -> None:
    with StopRequests(layout) as requests:
        request_stop(layout, reason="enough")
        requests.check_folder()
        assert requests.first is not None
        assert requests.first.reason == "enough"
        assert not requests.forced
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.forced


def test_a_broken_stop_file_is_not_a_request(layout: RunLayout) -> None:
    layout.stop.write_text("{")
    with StopRequests(layout) as requests:
        requests.check_folder()
        assert requests.first is None


def test_under_nohup_a_closed_terminal_is_not_a_request(layout: RunLayout) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequests(layout) as requests:
            os.kill(os.getpid(), signal.SIGHUP)
            assert requests.first is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_given_back(layout: RunLayout) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with StopRequests(layout):
        pass
    after = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    assert after == before
