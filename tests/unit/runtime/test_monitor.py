"""When an agent forwards, waits and kills; with real processes and short timeouts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.runtime.children import Child
from launcher.runtime.environ import RankEnviron
from launcher.runtime.monitor import AgentSignals, RankMonitor, Timeouts

pytestmark = pytest.mark.process

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(60)"
OBEDIENT = "ready(); time.sleep(60)"
SAVING = (
    "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.4), os._exit(0))); ready();"
    "time.sleep(60)"
)


@pytest.fixture
def signals() -> Iterator[AgentSignals]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signals = AgentSignals()
    signals.install()
    yield signals
    signals.uninstall()
    for number, handler in before.items():
        signal.signal(number, handler)


def start(rank: int, code: str) -> Child:
    place = RankEnviron(
        rank=rank, world_size=9, local_rank=rank, local_world_size=9, node_rank=0, set_by=""
    )
    head = "import os, signal, time\nready = lambda: os.write(1, b'.')\n"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", head + code], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    process.returncode = 0  # the monitor waits for it, not subprocess
    return Child(place=place, pid=process.pid)


def monitor(
    signals: AgentSignals,
    *codes: str,
    timeouts: Timeouts,
    parent_is_gone: Callable[[], bool] = lambda: False,
) -> tuple[RankMonitor, list[Child]]:
    children = [start(rank, code) for rank, code in enumerate(codes)]
    ended: list[Child] = []
    ranks = RankMonitor(
        children, signals, timeouts, on_end=ended.append, parent_is_gone=parent_is_gone
    )
    ranks.wait()
    assert len(ended) == len(children)
    return ranks, children


def signals_of(children: list[Child]) -> list[int | None]:
    codes = [child.returncode or 0 for child in children]
    return [-code if code < 0 else None for code in codes]


def later(seconds: float, number: signal.Signals) -> None:
    """Have another process signal this one after a while."""
    subprocess.Popen(
        ["sh", "-c", f"sleep {seconds}; kill -{int(number)} {os.getpid()}"]
    ).returncode = 0


LONG = Timeouts(grace_s=20.0, peers_s=20.0)


def test_ends_when_all_have_ended(signals: AgentSignals) -> None:
    ranks, children = monitor(signals, "ready()", "ready(); time.sleep(0.2)", timeouts=LONG)
    assert ranks.first_failure is None
    assert signals_of(children) == [None, None]


def test_the_first_failure_is_the_one_that_failed_first(
    signals: AgentSignals, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "alive")  # read to its end when the process that writes it has ended
    path = str(tmp_path / "alive")
    codes = (
        f"ready(); open({path!r}).read(); time.sleep(0.3); os._exit(2)",
        f"ready(); kept = open({path!r}, 'w'); os._exit(3)",
    )
    ranks, children = monitor(signals, *codes, timeouts=LONG)
    assert ranks.first_failure is children[1]


def test_peers_of_a_failed_rank_get_a_moment_then_sigterm_then_sigkill(
    signals: AgentSignals,
) -> None:
    timeouts = Timeouts(grace_s=20.0, peers_s=0.3, kill_s=0.3)
    ignore_dumps = "signal.signal(signal.SIGUSR2, signal.SIG_IGN); "
    _, children = monitor(
        signals,
        "ready(); os._exit(3)",
        ignore_dumps + OBEDIENT,
        ignore_dumps + STUBBORN,
        timeouts=timeouts,
    )
    assert signals_of(children) == [None, signal.SIGTERM, signal.SIGKILL]


def test_a_request_is_forwarded_once_and_saving_ranks_are_waited_for(signals: AgentSignals) -> None:
    later(0.1, signal.SIGTERM)
    ranks, children = monitor(signals, SAVING, SAVING, timeouts=LONG)
    assert ranks.stopping
    assert ranks.first_failure is None
    assert signals_of(children) == [None, None]


def test_grace_ends_in_sigkill(signals: AgentSignals, caplog: pytest.LogCaptureFixture) -> None:
    later(0.0, signal.SIGINT)
    _, children = monitor(signals, STUBBORN, timeouts=Timeouts(grace_s=0.5))
    assert signals_of(children) == [signal.SIGKILL]
    assert "still run after the grace period of 0.5 s" in caplog.text


def test_a_failure_during_a_stop_does_not_cut_the_others_grace(signals: AgentSignals) -> None:
    later(0.1, signal.SIGTERM)
    timeouts = Timeouts(grace_s=20.0, peers_s=0.0, kill_s=0.0)
    _, children = monitor(signals, OBEDIENT, SAVING, timeouts=timeouts)
    assert signals_of(children) == [signal.SIGTERM, None]


def test_a_second_request_kills(signals: AgentSignals, caplog: pytest.LogCaptureFixture) -> None:
    later(0.0, signal.SIGTERM)
    asks_again = (
        "signal.signal(signal.SIGTERM, lambda *_: "
        "(time.sleep(0.4), os.kill(os.getppid(), signal.SIGTERM))); ready();"
        "[time.sleep(1) for _ in range(60)]"
    )
    timeouts = Timeouts(grace_s=60.0, duplicate_s=0.3)
    _, children = monitor(signals, asks_again, timeouts=timeouts)
    assert signals_of(children) == [signal.SIGKILL]
    assert "received SIGTERM again: killing the ranks" in caplog.text


def test_a_parent_that_is_gone_is_a_request(signals: AgentSignals) -> None:
    _, children = monitor(signals, OBEDIENT, timeouts=LONG, parent_is_gone=lambda: True)
    assert signals_of(children) == [signal.SIGTERM]
