"""The batch scripts that people copy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[3] / "slurm").glob("*.sbatch"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_bundled_script_holds_options_one_command_and_no_logic(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ['exec python -m launcher cluster=slurm "$@"']
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert {"--requeue", "--open-mode=append", "--ntasks-per-node=1"} <= set(options)
    assert any(option.startswith("--signal=B:USR1@") for option in options)


@pytest.mark.process
@pytest.mark.extras
@pytest.mark.skipif(
    not shutil.which("shellcheck"), reason="needs shellcheck: apt-get install shellcheck"
)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_bundled_script_is_clean(script: Path) -> None:
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_there_are_scripts() -> None:
    assert [script.name for script in SCRIPTS] == ["hetero.sbatch", "train.sbatch"]
