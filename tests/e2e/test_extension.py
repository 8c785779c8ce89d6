"""A package of another author adds a source and a backend; nothing of ours changes for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

EXTENSION = Path(__file__).parents[1] / "extension"
PROGRAM = """
import torch
from launcher import runtime
engine = runtime.init().engine
print("sum", int(engine.all_reduce(torch.ones(1)).item()))
engine.close()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the package into a folder and return the environment that finds it."""
    folder = tmp_path_factory.mktemp("extension")
    shutil.copytree(EXTENSION, folder / "source")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"),
            *("--no-index", "--target", str(folder / "site"), str(folder / "source")),
        ],
        check=True,
    )
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "SOURCE": str(folder / "source")}


def launch(*words: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "launcher", *words, "storage.root=outputs", "device=cpu"]
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_its_source_and_its_backend_pass_the_contracts(installed: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=installed["SOURCE"],
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.replace("2 skipped", "")  # this fetcher has no digests


def test_the_user_chooses_them_by_name(tmp_path: Path, installed: dict[str, str]) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    (tmp_path / "nodes").write_text("n1\nn2\n")
    done = launch(
        *("plan", "cluster=pbs", "cluster.probe=false", "backend=elastic", "recipe=script"),
        "script=train.py",
        cwd=tmp_path,
        env={**installed, "PBS_NODEFILE": str(tmp_path / "nodes")},
    )
    assert done.returncode == 0, done.stderr
    assert "torch.distributed.run" in done.stdout
    assert "--nnodes=2" in done.stdout


def test_a_run_goes_through_its_backend(tmp_path: Path, installed: dict[str, str]) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    words = ("backend=elastic", "recipe=script", "script=train.py", "nodes=2")
    done = launch(*words, cwd=tmp_path, env=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sum 2" in done.stdout


def test_its_names_are_offered_for_a_typo(tmp_path: Path, installed: dict[str, str]) -> None:
    done = launch("plan", "recipe=script", "backend=elastik", cwd=tmp_path, env=installed)
    assert done.returncode == 2
    assert "did you mean `elastic`" in done.stdout + done.stderr
