"""Fakes of Slurm's commands with recorded output, and runs of jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.runs import events
from launcher.specs import Job, RunLayout

JOB = Job(cluster="lab", job_id="7")


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout.of(tmp_path / "outputs", "r1")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a command on the PATH that notes how it was called and answers; return its notes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, *, out: str = "", err: str = "", code: int = 0) -> Path:
        called = tmp_path / f"{name}.called"
        path = folder / name
        path.write_text(
            f"#!{sys.executable}\n"
            "import json, os, sys\n"
            f"with open({str(called)!r}, 'a') as file:\n"
            "    file.write(json.dumps([sys.argv[1:], dict(os.environ)]) + '\\n')\n"
            f"sys.stdout.write({out!r}); sys.stderr.write({err!r}); sys.exit({code})\n"
        )
        path.chmod(0o755)
        return called

    return make


@pytest.fixture
def attempt(layout: RunLayout) -> Callable[..., None]:
    """Write an attempt of the run down, by a job, with the steps it started from and came to."""

    def write(
        number: int,
        *,
        job: Job | None = JOB,
        resumes: int | None = None,
        committed: int | None = None,
        ended: bool = True,
    ) -> None:
        folder = layout.attempt(number)
        folder.path.mkdir(parents=True)
        started = events.AttemptStarted(
            at=1.0,
            attempt=number,
            nodes=1,
            world_size=1,
            backend="torchrun",
            resumes_step=resumes,
            job=job,
        )
        events.append(folder.events, started)
        if not ended:
            return
        events.append(
            folder.events,
            events.AttemptEnded(
                at=2.0,
                attempt=number,
                cause="checkpoint saved",
                step=committed or 0,
                committed_step=committed,
                seconds=1.0,
                restarting=False,
                why="",
            ),
        )

    return write
