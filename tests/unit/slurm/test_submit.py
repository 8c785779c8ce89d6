from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import ConfigError, PreflightError
from launcher.slurm.config import SlurmConfig
from launcher.slurm.jobs import JobRecord, read
from launcher.slurm.submit import Submission, all_or_nothing, prepare, submit
from launcher.specs import RunLayout

pytestmark = pytest.mark.process

_BADLY_NAMED = "Batch job submission failed: Invalid partition name specified\n"


def prepared(layout: RunLayout, options: SlurmConfig | None = None) -> Submission:
    return prepare(
        layout,
        options=options or SlurmConfig(),
        nodes=2,
        signal_s=90,
        python="/opt/python",
        config="run_id: r1\n",
    )


def test_the_job_reads_the_configuration_as_it_was(
    layout: RunLayout, command: Callable[..., Path]
) -> None:
    called = command("sbatch", out="41\n")
    done = submit(prepared(layout))
    folder = layout.jobs / "submitted-0001"
    argv, _ = json.loads(called.read_text())
    assert argv == ["--parsable", f"--output={folder}/slurm-%j.log", f"{folder}/job.sbatch"]
    assert (folder / "config.yaml").read_text() == "run_id: r1\n"
    last = (folder / "job.sbatch").read_text().splitlines()[-1]
    assert last == f"exec /opt/python -m launcher run --config {folder}/config.yaml"
    assert done.record == JobRecord(cluster="", job_id="41", log=f"{folder}/slurm-41.log")
    assert read(layout) == [done.record]
    assert layout.config.read_text() == "run_id: r1\n"


def test_a_second_submission_leaves_the_first_as_it_is(
    layout: RunLayout, command: Callable[..., Path]
) -> None:
    command("sbatch", out="41;lab\n")
    submit(prepared(layout))
    layout.config.write_text("as the running job has it")
    command("sbatch", out="42;lab\n")
    submit(prepared(layout))
    assert [each.job_id for each in read(layout)] == ["41", "42"]
    assert {path.name for path in layout.jobs.iterdir() if path.is_dir()} == {
        "submitted-0001",
        "submitted-0002",
    }
    assert layout.config.read_text() == "as the running job has it"


def test_an_array_has_a_log_for_each_task(layout: RunLayout, command: Callable[..., Path]) -> None:
    command("sbatch", out="50\n")
    done = submit(prepared(layout, SlurmConfig(array="0-3")))
    assert done.record.array == "0-3"
    assert done.record.log.endswith("/slurm-50_%a.log")


def test_a_percent_sign_in_a_folder_is_no_pattern_of_slurms(tmp_path: Path) -> None:
    layout = RunLayout.of(tmp_path / "100%x 'a'", "r1")
    assert "/100%%x 'a'/" in prepared(layout).argv[2]


def test_a_folder_that_slurm_cannot_write_a_log_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="backslash"):
        prepared(RunLayout.of(tmp_path / "a\\b", "r1"))


def test_a_refusal_quotes_slurm_and_leaves_no_run_behind(
    layout: RunLayout, command: Callable[..., Path]
) -> None:
    said = f"sbatch: error: invalid partition specified: gpus\nsbatch: error: {_BADLY_NAMED}"
    command("sbatch", err=said, code=1)
    command("sinfo", out="gpu\nlong\n")
    with (
        pytest.raises(PreflightError, match="Slurm refuses") as caught,
        all_or_nothing(layout),
    ):
        submit(prepared(layout, SlurmConfig(partition="gpus")))
    assert "Invalid partition name specified" in caught.value.context
    assert "did you mean `cluster.slurm.partition=gpu`? partitions are: gpu, long" in (
        caught.value.hint
    )
    assert not layout.path.exists()


def test_a_refusal_leaves_an_older_run_as_it_was(
    layout: RunLayout, command: Callable[..., Path]
) -> None:
    layout.path.mkdir(parents=True)
    layout.config.write_text("old")
    command("sbatch", err="sbatch: error: Batch job submission failed: Job violates", code=1)
    with pytest.raises(PreflightError), all_or_nothing(layout):
        submit(prepared(layout))
    assert [path.name for path in layout.path.iterdir()] == ["config.yaml"]


def test_what_was_asked_for_wins_over_the_variables_of_a_profile(
    layout: RunLayout, command: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = command("sbatch", out="1\n")
    monkeypatch.setenv("SBATCH_PARTITION", "debug")
    monkeypatch.setenv("SBATCH_SIGNAL", "TERM@1")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    monkeypatch.setenv("HF_TOKEN", "secret")
    submit(prepared(layout, SlurmConfig(partition="gpu")))
    _, environ = json.loads(called.read_text())
    assert "SBATCH_PARTITION" not in environ
    assert "SBATCH_SIGNAL" not in environ
    assert environ["SBATCH_ACCOUNT"] == "mine"  # nothing was asked for here
    assert environ["HF_TOKEN"] == "secret"
    written = [path for path in layout.path.rglob("*") if path.is_file()]
    assert all("secret" not in path.read_text() for path in written)
