"""Signals before training: what they end, and with which error."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

from launcher.errors import Interrupted, LauncherError, SavedForRequeue
from launcher.interrupts import Interruption, interrupted, interruptible

USER = (signal.SIGINT, signal.SIGHUP)
SYSTEM = (signal.SIGTERM, signal.SIGUSR1)


def hit_by(*numbers: int) -> None:
    """Get the first signal while waiting, and the others while what was started is ended."""
    with interruptible(" early"):
        try:
            os.kill(os.getpid(), numbers[0])
            signal.pause()
        finally:
            for number in numbers[1:]:
                os.kill(os.getpid(), number)


def hit_while_staging(number: int) -> None:
    with interruptible(" early"):
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        except KeyboardInterrupt:
            raise Interrupted("staging was interrupted", hint="-") from None


@pytest.mark.parametrize("number", SYSTEM)
def test_a_preemption_asks_for_a_requeue(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    for hit in (hit_by, hit_while_staging):
        with pytest.raises(SavedForRequeue, match=f"received {number.name} early"):
            hit(number)
    assert signal.getsignal(number) == before
    assert interrupted.is_set()


@pytest.mark.parametrize("number", USER)
def test_a_closed_terminal_is_like_ctrl_c(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        hit_by(number)
    with pytest.raises(Interrupted, match="staging was interrupted"):
        hit_while_staging(number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGHUP, *SYSTEM])
def test_a_repeated_request_does_not_disturb_the_end_and_the_first_counts(
    number: signal.Signals,
) -> None:
    with pytest.raises(SavedForRequeue, match="SIGUSR1"):
        hit_by(signal.SIGUSR1, number, number)
    with pytest.raises(KeyboardInterrupt):
        hit_by(signal.SIGHUP, number, number)


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def asked_from_a_thread(interruption: Interruption) -> None:
    asking = threading.Thread(target=interruption.request, args=("ada stopped the run",))
    asking.start()
    signal.pause()


def test_another_thread_can_interrupt_with_a_reason() -> None:
    with (
        pytest.raises(Interrupted, match="ada stopped the run") as caught,
        interruptible() as interruption,
    ):
        asked_from_a_thread(interruption)
    assert caught.value.exit_code == 130


def swallowed() -> None:
    with interruptible() as interruption:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        interruption.check()


def test_an_interruption_that_a_library_swallows_is_raised_again() -> None:
    with pytest.raises(SavedForRequeue):
        swallowed()


def test_other_errors_pass_and_other_threads_are_left_alone() -> None:
    with pytest.raises(LauncherError, match="mine"), interruptible():
        raise LauncherError("mine", hint="-")
    seen = []

    def work() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
