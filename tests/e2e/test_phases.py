"""Every phase of a run ends with the documented code, and leaves no process, when asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.process]

_CHILD = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])"
_WAITS = f"import pathlib, subprocess, sys, time; {_CHILD}; pathlib.Path({{mark!r}}).touch()"


def _script(folder: Path, text: str, *words: str) -> tuple[str, ...]:
    (folder / "train.py").write_text(text)
    common = ("recipe=script", "script=train.py", "device=cpu", "run_id=r", "nodes=1", "slots=2")
    return (*common, "supervise.grace_s=5", *words)


def _waiting(folder: Path) -> str:
    return _WAITS.format(mark=str(folder / "reached")) + "\ntime.sleep(300)\n"


def _slow_python(folder: Path) -> str:
    """An interpreter that hangs when it is asked about its node."""
    path = folder / "python"
    path.write_text(
        f'#!/bin/sh\ncase " $* " in *" -c "*)\n'
        f'  touch "{folder}/reached"; sleep 300 ;;\nesac\nexec "{sys.executable}" "$@"\n'
    )
    path.chmod(0o755)
    return f"cluster.python={path}"


def _config(folder: Path) -> tuple[str, ...]:
    os.mkfifo(folder / "config.yaml")
    return ("--config=config.yaml", "run_id=r")


def _reads_config(started: subprocess.Popen[str]) -> bool:
    links = Path(f"/proc/{started.pid}/fd").iterdir()
    return any(link.readlink().name == "config.yaml" for link in links if link.is_symlink())


def _search(folder: Path) -> tuple[str, ...]:
    return _script(folder, "pass", _slow_python(folder))


def _staging(folder: Path) -> tuple[str, ...]:
    (folder / "build.py").write_text(_waiting(folder))
    return _script(folder, "pass", "data.name=d", f"data.source=build://{folder}/build.py")


def _training(folder: Path) -> tuple[str, ...]:
    return _script(folder, _waiting(folder))


def _ending(folder: Path) -> tuple[str, ...]:
    """All that the program was to do is done."""
    return _script(folder, f"import atexit\natexit.register(lambda: exec({_waiting(folder)!r}))\n")


PHASES: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "config": _config,
    "search": _search,
    "staging": _staging,
    "training": _training,
    "ending": _ending,
}
"""Phase -> the words that bring a command into it and keep it there."""
SIGNALS = {signal.SIGINT: 130, signal.SIGHUP: 130, signal.SIGTERM: 75, signal.SIGUSR1: 75}


def start(
    person: Any, phase: str, request: pytest.FixtureRequest, terminal: int | None = None
) -> subprocess.Popen[str]:
    """Start a run, and return when it is in the phase."""
    person.env["PHASE_OF"] = str(person.cwd)
    words = PHASES[phase](person.cwd)
    if phase == "config":  # opened for writing too, so that a reader waits
        request.addfinalizer(partial(os.close, os.open(person.cwd / "config.yaml", os.O_RDWR)))
    started: subprocess.Popen[str] = person.starts(*words, terminal=terminal)
    mark = person.cwd / "reached"

    def reached() -> bool:
        assert started.poll() is None, started.communicate()[0]
        return _reads_config(started) if phase == "config" else mark.exists()

    wait_until(reached, what=f"the phase {phase}")
    return started


def left_running(person: Any) -> list[str]:
    """Return the command lines of the processes that were started and still run."""
    mark = f"PHASE_OF={person.cwd}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return [each for each in found if each]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_ends_every_phase_with_its_code_and_all_processes(
    person: Any, phase: str, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    started = start(person, phase, request)
    started.send_signal(number)
    said, _ = started.communicate(timeout=60)
    assert started.returncode == (SIGNALS[number] if phase != "ending" else 0), said
    assert ("Traceback" in said) == (phase == "ending"), said
    assert not left_running(person)


@pytest.mark.parametrize("phase", [each for each in PHASES if each != "config"])
def test_stop_ends_every_phase_and_status_knows_the_run(
    person: Any, phase: str, request: pytest.FixtureRequest
) -> None:
    started = start(person, phase, request)
    assert person.types("status", "r").returncode == 0
    stopped = person.types("stop", "r")
    assert stopped.returncode == 0, stopped.stderr
    assert "requested a stop of r" in stopped.stdout
    said, _ = started.communicate(timeout=60)
    assert started.returncode == (130 if phase != "ending" else 0), said
    assert not left_running(person)
    if phase in ("search", "staging"):
        assert not person.run_folder("r").exists()


@pytest.mark.parametrize("phase", ["staging", "training"])
def test_a_terminal_that_is_closed_ends_the_run_with_130(
    person: Any, phase: str, request: pytest.FixtureRequest
) -> None:
    """Its streams fail from then on, also while the end of the run is shown."""
    ours, theirs = os.openpty()
    try:
        started = start(person, phase, request, terminal=theirs)
    finally:
        os.close(theirs)
    os.close(ours)
    started.send_signal(signal.SIGHUP)
    assert started.wait(timeout=60) == 130
    assert not left_running(person)


def test_a_pipe_that_is_closed_ends_no_run(person: Any) -> None:
    words = _script(
        person.cwd, "import time\nfor n in range(30): print(n, flush=True); time.sleep(0.1)"
    )
    started = person.starts(*words)
    started.stdout.readline()
    started.stdout.close()
    assert started.wait(timeout=60) == 0
    assert person.result("r")["state"] == "done"
    person.started.remove(started)
