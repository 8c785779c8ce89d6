"""A person in an empty folder, and runs that are there already."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher import config
from launcher.cli.main import main
from launcher.interrupts import PREEMPTIONS
from launcher.runs import events
from launcher.specs import RunLayout


@dataclass
class Said:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Undo what an interrupted command leaves: it ignores repeated signals until it has exited."""
    numbers = (signal.SIGINT, signal.SIGHUP, *PREEMPTIONS)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAUNCHER_STORAGE_ROOT", raising=False)
    monkeypatch.setattr("sys.argv", ["launcher"])
    (tmp_path / "train.py").write_text("print('hello')\n")
    return tmp_path


@pytest.fixture
def types(here: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process and return what it said."""
    del here

    def run(*words: str, **options: Any) -> Said:
        capfd.readouterr()
        code = main(words, **options)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def make_run(here: Path) -> Callable[..., RunLayout]:
    """Write the folder of a run that ended well."""

    def make(run_id: str, *overrides: str) -> RunLayout:
        layout = RunLayout.of(here / "outputs", run_id)
        typed = ["recipe=script", "script=train.py", f"run_id={run_id}", *overrides]
        layout.attempt(1).logs.mkdir(parents=True)
        layout.config.write_text(config.dump(config.load(typed, cwd=here)))
        layout.attempt(1).rank_log(0, 0).write_text("first\nsecond\n")
        layout.attempt(1).rank_log(1, 1).write_text("other\n")
        result = {"run_id": run_id, "state": "done", "attempts": 1, "exit_code": 0, "result": {}}
        layout.result.write_text(json.dumps(result))
        ended = events.RunEnded(at=1.0, state="done", exit_code=0)
        events.append(layout.attempt(1).events, ended)
        return layout

    return make
