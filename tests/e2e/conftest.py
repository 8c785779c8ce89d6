"""The launcher as a person uses it: real processes, in an empty folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DONE_WITHIN_S = 240
MARKER = "LAUNCHER_TESTS_OF"
"""Variable that tells who started a process."""


@dataclass
class Person:
    """Somebody who stands in `cwd` and types commands."""

    cwd: Path
    env: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def types(
        self, *words: str, timeout_s: float = DONE_WITHIN_S
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m launcher WORDS` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "launcher", *words],
            cwd=self.cwd,
            env=self.env,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout_s,
            check=False,
        )

    def starts(self, *words: str, terminal: int | None = None) -> subprocess.Popen[str]:
        """Run it in the background, in a session of its own as a terminal would."""
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher", *words],
            cwd=self.cwd,
            env=self.env,
            stdin=terminal,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run_folder(self, run_id: str) -> Path:
        return self.cwd / "outputs" / "runs" / run_id

    def result(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_folder(run_id) / "result.json").read_text())
        return found

    def metrics(self, run_id: str) -> list[dict[str, Any]]:
        """Return the merged history: for each step, the line of the newest attempt."""
        text = (self.run_folder(run_id) / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def losses(self, run_id: str) -> dict[int, float]:
        return {line["step"]: line["loss"] for line in self.metrics(run_id) if "loss" in line}


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float = 90.0) -> None:
    """Poll until `condition` holds; fails naming `what` was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.05)


def processes_of(run_id: str) -> list[int]:
    """Return the ids of all live processes that carry this run's id in their environment.

    Only of runs that were started from here: tests beside this one use the same names.
    """
    wanted = {f"LAUNCHER_RUN_ID={run_id}".encode(), f"{MARKER}={os.getpid()}".encode()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes().split(b"\0")
            alive = (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            continue
        if wanted <= set(environ) and alive:
            found.append(int(folder.name))
    return found


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """A person in an empty folder, whose leftovers are stopped by id afterwards."""
    yield from somebody_in(tmp_path)


@pytest.fixture(scope="module")
def lasting_person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """The same, in one folder for all tests of a module: runs can be compared between tests."""
    yield from somebody_in(tmp_path_factory.mktemp("lasting"))


def somebody_in(folder: Path) -> Iterator[Person]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LAUNCHER_")}
    env[MARKER] = str(os.getpid())
    somebody = Person(cwd=folder, env={**env, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100"})
    yield somebody
    for process in somebody.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Helpers:
    """What tests wait for and count; a fixture, since test folders are no packages."""

    wait_until = staticmethod(wait_until)
    processes_of = staticmethod(processes_of)

    @staticmethod
    def wait_until_step(person: Person, run_id: str, step: int, *, attempt: int = 1) -> None:
        """Wait until rank 0 of an attempt has finished `step`."""
        record = person.run_folder(run_id) / "attempts" / f"{attempt:04d}" / "ranks" / "0000.json"

        def reached() -> bool:
            if record.is_file() and int(json.loads(record.read_text())["step"]) >= step:
                return True
            for run in person.started[-1:]:
                assert run.poll() is None, f"it ended before step {step}:\n{run.communicate()[0]}"
            return False

        wait_until(reached, what=f"step {step} of {run_id}", timeout_s=DONE_WITHIN_S)

    @staticmethod
    def kill_all(run: subprocess.Popen[str], run_id: str) -> None:
        """Kill -9 every process of a run, the launcher first."""
        run.kill()
        for pid in processes_of(run_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes_of(run_id), what="all processes to be gone")

    @staticmethod
    def consumed(run_folder: Path) -> dict[int, Counter[int]]:
        """Return epoch -> how often each sample counted; a step that was repeated counts once."""
        lines: dict[int, tuple[int, list[dict[str, Any]]]] = {}
        for attempt in sorted((run_folder / "attempts").iterdir()):
            for file in (attempt / "samples").glob("*.jsonl"):
                for line in map(json.loads, file.read_text().splitlines()):
                    number = int(attempt.name)
                    newest, found = lines.get(line["step"], (number, []))
                    lines[line["step"]] = (number, [*(found if newest == number else []), line])
        epochs: dict[int, Counter[int]] = {}
        for _, found in lines.values():
            for line in found:
                epochs.setdefault(line["epoch"], Counter()).update(line["ids"])
        return epochs


@pytest.fixture
def helpers() -> type[Helpers]:
    return Helpers
