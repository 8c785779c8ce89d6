from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from launcher import config
from launcher.errors import ConfigError
from launcher.slurm.config import BatchRequest, SlurmConfig, render


@pytest.mark.parametrize("line", ["exclusive", "", "--x\n--y", "# --x", "; rm -rf /"])
def test_an_extra_that_is_no_option_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="expected an option of sbatch"):
        SlurmConfig(extra=(line,))


@pytest.mark.parametrize("line", ["--export=ALL,HF_TOKEN=abc", "--export ALL,AWS_SECRET=x"])
def test_a_secret_does_not_get_into_the_script(line: str) -> None:
    with pytest.raises(ConfigError, match="looks like a secret") as caught:
        SlurmConfig(extra=(line,))
    assert "abc" not in str(caught.value)
    assert "export" in caught.value.hint


def test_other_variables_may_be_exported() -> None:
    assert SlurmConfig(extra=("--export=ALL,NCCL_DEBUG=INFO", "-x n1")).extra[1] == "-x n1"


@pytest.mark.parametrize("time", ["1h", "10 minutes", "1:2:3:4", "-5", "soon"])
def test_a_time_that_slurm_does_not_know_is_refused_before_sbatch_is_called(time: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.slurm\.time"):
        SlurmConfig(time=time)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("partition", "gpu,long"),
        ("time", "90"),
        ("time", "1-12:00:00"),
        ("gres", "gpu:h100:8"),
        ("constraint", "[a100&ib]|h100*2"),
        ("exclude", "node[01-03,7],other"),
        ("dependency", "afterok:1:2,afterany:3?afternotok:4"),
        ("array", "1,3,5-9:2%2"),
        ("mem", "64G"),
    ],
)
def test_options_are_typed_as_sbatch_wants_them(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "train.py").touch()
    words = ("recipe=script", "script=train.py", "cluster=slurm", f"cluster.slurm.{key}={value}")
    loaded = config.load(words, cwd=tmp_path)
    assert getattr(loaded.cluster.slurm, key) == value
    again = tmp_path / "config.yaml"
    again.write_text(config.dump(loaded))
    assert config.load_saved(again, cwd=tmp_path) == loaded


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
        "# Generated. All settings are in the config file named below.",
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
