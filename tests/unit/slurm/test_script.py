from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.slurm.config import SlurmConfig
from launcher.slurm.script import BatchRequest, render

HURTFUL = "a'b\"c $(touch hurt) `touch hurt`; touch hurt\nd %x"


def request_of(options: SlurmConfig | None = None, *command: str) -> BatchRequest:
    return BatchRequest(
        name="r1",
        nodes=4,
        options=options or SlurmConfig(),
        signal_s=90,
        command=command or ("/usr/bin/python", "-m", "launcher"),
    )


def test_a_bare_script_asks_for_nodes_a_warning_and_another_start() -> None:
    assert render(request_of()).splitlines() == [
        "#!/bin/bash",
        "# Written by the launcher. All that decides stands in the configuration that it names.",
        "#SBATCH --job-name=r1",
        "#SBATCH --nodes=4",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --signal=B:USR1@90",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "",
        "exec /usr/bin/python -m launcher",
    ]


def test_every_option_reaches_sbatch_and_the_users_own_lines_come_last() -> None:
    options = SlurmConfig(
        partition="gpu,long",
        account="me",
        qos="high",
        time="2-00:00:00",
        gres="gpu:8",
        constraint="a100&ib",
        exclude="n[1-2]",
        reservation="course",
        dependency="afterany:1",
        array="0-9%2",
        mem="0",
        cpus_per_task=12,
        requeue=False,
        extra=("--exclusive", "--comment=two words"),
    )
    lines = render(request_of(options)).splitlines()
    asked = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert asked[4:] == [
        "--no-requeue",
        "--open-mode=append",
        "--partition=gpu,long",
        "--account=me",
        "--qos=high",
        "--time=2-00:00:00",
        "--gres=gpu:8",
        "--constraint=a100&ib",
        "--exclude=n[1-2]",
        "--reservation=course",
        "--dependency=afterany:1",
        "--array=0-9%2",
        "--mem=0",
        "--cpus-per-task=12",
        "--exclusive",
        "--comment=two words",
    ]


@pytest.mark.process
def test_the_command_arrives_unchanged_whatever_it_holds(tmp_path: Path) -> None:
    script = tmp_path / "job.sbatch"
    script.write_text(render(request_of(None, "printf", "%s", HURTFUL)))
    done = subprocess.run(
        ["bash", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == HURTFUL
    assert not (tmp_path / "hurt").exists()
    assert shlex.quote(HURTFUL) in script.read_text()


@pytest.mark.process
def test_the_launcher_takes_the_place_of_the_batch_shell(tmp_path: Path) -> None:
    """Else `--signal=B:` would reach a shell that does not pass it on."""
    script = tmp_path / "job.sbatch"
    script.write_text(render(request_of(None, "bash", "-c", "echo $$")))
    with subprocess.Popen(["bash", script], stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate()
    assert int(out) == process.pid


@pytest.mark.parametrize("name", ["partition", "gres", "dependency", "array", "mem"])
@pytest.mark.parametrize("value", ["a\n#SBATCH --wrap=x", "a b", 'a"b', "a\\b"])
def test_no_value_can_become_a_second_option(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"cluster\.slurm\.{name}"):
        SlurmConfig(**{name: value})  # type: ignore[arg-type]
