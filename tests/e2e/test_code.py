"""The code of a run is that of its first start."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

TRAIN = """
import time
from pathlib import Path
from helper import NAME
from launcher import runtime

data = (Path(__file__).parent / "data" / "rows.txt").read_text()
Path("seen.txt").open("a").write(f"{NAME} {data}\\n")
ctx = runtime.init()
for step in range(1, 2000):
    numbers = dict(epoch=0.0, loss=1.0, lr=0.1, samples=1, step_time_s=0.05)
    ctx.log_step(step=step, total_steps=2000, **numbers)
    time.sleep(0.05)
    if Path("enough").exists():
        break
"""
COMMAND = ("recipe=script", "script=project/train.py", "run_id=r", "supervise.grace_s=1")


@pytest.fixture
def project(person: Any) -> Path:
    """A project whose data is no code; the person stands above it."""
    folder: Path = person.cwd / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "rows.txt").write_text("rows")
    (folder / "train.py").write_text(TRAIN)
    (folder / "helper.py").write_text("NAME = 'old'\n")
    return folder


def seen(person: Any) -> list[str]:
    text: str = (person.cwd / "seen.txt").read_text()
    return text.splitlines()


def rank_of(person: Any, attempt: int) -> int:
    record = person.run_folder("r") / "attempts" / f"{attempt:04d}" / "ranks" / "0000.json"
    return int(json.loads(record.read_text())["pid"])


def test_an_edit_changes_neither_a_restart_nor_a_resume(
    person: Any, helpers: Any, project: Path
) -> None:
    process = person.starts(*COMMAND)
    helpers.wait_until_step(person, "r", 2)
    (project / "helper.py").write_text("NAME = 'new'\n")
    os.kill(rank_of(person, 1), signal.SIGKILL)
    helpers.wait_until_step(person, "r", 2, attempt=2)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 130, output
    assert seen(person) == ["old rows", "old rows"]

    (person.cwd / "enough").touch()
    resumed = person.types("resume", "r")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "1 file differs" in resumed.stdout
    assert "helper.py" in resumed.stdout
    assert seen(person) == ["old rows"] * 3
    found = json.loads((person.run_folder("r") / "environment.json").read_text())
    assert found["code"]["project"] == str(project)


def test_new_code_is_taken_when_asked_for(person: Any, project: Path) -> None:
    (project / "helper.py").write_text("raise ValueError('mend me')\n")
    failed = person.types(*COMMAND)
    assert failed.returncode == 5
    assert "code=new" in failed.stdout + failed.stderr
    (project / "helper.py").write_text("NAME = 'mended'\n")
    (person.cwd / "enough").touch()
    assert person.types("resume", "r").returncode == 5
    assert person.types("resume", "r", "code=new").returncode == 0
    assert seen(person) == ["mended rows"]
    assert person.types(*COMMAND, "resume=never").returncode == 0


def test_shared_code_runs_where_it_lies(person: Any, project: Path) -> None:
    (project / "train.py").write_text("print('from', __file__)\n")
    done = person.types(*COMMAND, "code=shared")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"from {project / 'train.py'}" in done.stdout
    assert not (person.cwd / "outputs" / "code").exists()


def test_a_traceback_shows_the_code_that_ran(person: Any, project: Path) -> None:
    (project / "train.py").write_text("raise ValueError('boom')\n")
    done = person.types(*COMMAND)
    (line,) = {each for each in done.stdout.splitlines() if "train.py" in each and "File" in each}
    assert "/outputs/code/" in line
    assert line.endswith('/project/train.py", line 1, in <module>')


def test_a_project_that_is_too_large_is_refused_before_anything(person: Any, project: Path) -> None:
    for number in range(101):
        with (project / f"{number}.txt").open("wb") as file:
            file.truncate(1_000_000)
    done = person.types(*COMMAND)
    assert done.returncode == 2
    assert "too large to be copied" in done.stderr
    assert "code=shared" in done.stderr
    assert not person.run_folder("r").exists()


def test_a_module_of_a_src_layout_runs_and_resumes_from_its_copy(person: Any) -> None:
    """`python -m pkg.train` with relative imports, resumed after an edit."""
    package = person.cwd / "src" / "pkg"
    package.mkdir(parents=True)
    (package / "helper.py").write_text("NAME = 'old'\n")
    train = (
        "from . import helper\nopen('seen.txt', 'a').write(f'{helper.NAME}\\n')\nopen('enough')\n"
    )
    (package / "train.py").write_text(train)
    failed = person.types("recipe=script", "module=pkg.train", "run_id=r", "env.PYTHONPATH=src")
    assert failed.returncode == 5, failed.stdout + failed.stderr
    (package / "helper.py").write_text("NAME = 'new'\n")
    (person.cwd / "enough").touch()
    resumed = person.types("resume", "r")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert seen(person) == ["old", "old"]
