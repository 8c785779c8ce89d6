"""A preemption before the first rank."""

import os
import signal

import pytest

from launcher.errors import Interrupted, SavedForRequeue
from launcher.supervise import preemptible


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
