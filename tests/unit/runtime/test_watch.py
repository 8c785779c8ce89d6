"""When an agent forwards, waits and kills; with real processes and short patience."""

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
from launcher.runtime.wake import Wake
from launcher.runtime.watch import Patience, Watch

pytestmark = pytest.mark.process

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(60)"
OBEDIENT = "ready(); time.sleep(60)"
SAVING = (
    "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.4), os._exit(0))); ready();"
    "time.sleep(60)"
)


@pytest.fixture
def wake() -> Iterator[Wake]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    wake = Wake()
    wake.install()
    yield wake
    wake.uninstall()
    for number, handler in before.items():
        signal.signal(number, handler)


def start(rank: int, code: str) -> Child:
    place = RankEnviron(
        rank=rank, world_size=9, local_rank=rank, local_world_size=9, node_rank=0, table=""
    )
    head = "import os, signal, time\nready = lambda: os.write(1, b'.')\n"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", head + code], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    process.returncode = 0  # the watch waits for it, not subprocess
    return Child(place=place, pid=process.pid)


def watch(
    wake: Wake,
    *codes: str,
    patience: Patience,
    parent_is_gone: Callable[[], bool] = lambda: False,
) -> tuple[Watch, list[Child]]:
    children = [start(rank, code) for rank, code in enumerate(codes)]
    ended: list[Child] = []
    found = Watch(children, wake, patience, on_end=ended.append, parent_is_gone=parent_is_gone)
    found.until_all_ended()
    assert len(ended) == len(children)
    return found, children


def signals_of(children: list[Child]) -> list[int | None]:
    return [child.end.signal if child.end else None for child in children]


def later(seconds: float, number: signal.Signals) -> None:
    """Have this process signalled after a while, by somebody else."""
    subprocess.Popen(
        ["sh", "-c", f"sleep {seconds}; kill -{int(number)} {os.getpid()}"]
    ).returncode = 0


LONG = Patience(grace_s=20.0, peers_s=20.0)


def test_ends_when_all_have_ended(wake: Wake) -> None:
    found, children = watch(wake, "ready()", "ready(); time.sleep(0.2)", patience=LONG)
    assert found.first_failure is None
    assert signals_of(children) == [None, None]


def test_the_first_failure_is_the_one_that_failed_first(wake: Wake, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")  # read to its end when the process that writes it has ended
    path = str(tmp_path / "alive")
    codes = (
        f"ready(); open({path!r}).read(); time.sleep(0.3); os._exit(2)",
        f"ready(); kept = open({path!r}, 'w'); os._exit(3)",
    )
    found, children = watch(wake, *codes, patience=LONG)
    assert found.first_failure is children[1]


def test_peers_of_a_failed_rank_get_a_moment_then_sigterm_then_sigkill(wake: Wake) -> None:
    patience = Patience(grace_s=20.0, peers_s=0.3, last_words_s=0.3)
    ignore_dumps = "signal.signal(signal.SIGUSR2, signal.SIG_IGN); "
    _, children = watch(
        wake,
        "ready(); os._exit(3)",
        ignore_dumps + OBEDIENT,
        ignore_dumps + STUBBORN,
        patience=patience,
    )
    assert signals_of(children) == [None, signal.SIGTERM, signal.SIGKILL]


def test_a_request_is_forwarded_once_and_saving_ranks_are_waited_for(wake: Wake) -> None:
    later(0.1, signal.SIGTERM)
    found, children = watch(wake, SAVING, SAVING, patience=LONG)
    assert found.stopping
    assert found.first_failure is None
    assert signals_of(children) == [None, None]


def test_grace_ends_in_sigkill(wake: Wake, caplog: pytest.LogCaptureFixture) -> None:
    later(0.0, signal.SIGINT)
    _, children = watch(wake, STUBBORN, patience=Patience(grace_s=0.5))
    assert signals_of(children) == [signal.SIGKILL]
    assert "did not leave in 0.5 s" in caplog.text


def test_a_failure_during_a_stop_does_not_cut_the_others_grace(wake: Wake) -> None:
    later(0.1, signal.SIGTERM)
    patience = Patience(grace_s=20.0, peers_s=0.0, last_words_s=0.0)
    _, children = watch(wake, OBEDIENT, SAVING, patience=patience)
    assert signals_of(children) == [signal.SIGTERM, None]


def test_a_second_request_kills(wake: Wake, caplog: pytest.LogCaptureFixture) -> None:
    later(0.0, signal.SIGTERM)
    asks_again = (
        "signal.signal(signal.SIGTERM, lambda *_: "
        "(time.sleep(0.4), os.kill(os.getppid(), signal.SIGTERM))); ready();"
        "[time.sleep(1) for _ in range(60)]"
    )
    patience = Patience(grace_s=60.0, echo_s=0.3)
    _, children = watch(wake, asks_again, patience=patience)
    assert signals_of(children) == [signal.SIGKILL]
    assert "SIGTERM again: killing the ranks" in caplog.text


def test_a_parent_that_is_gone_is_a_request(wake: Wake) -> None:
    _, children = watch(wake, OBEDIENT, patience=LONG, parent_is_gone=lambda: True)
    assert signals_of(children) == [signal.SIGTERM]
