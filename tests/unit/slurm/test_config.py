from __future__ import annotations

from pathlib import Path

import pytest

from launcher import config
from launcher.errors import ConfigError
from launcher.slurm.config import SlurmConfig


@pytest.mark.parametrize("line", ["exclusive", "", "--x\n--y", "# --x", "; rm -rf /"])
def test_an_extra_that_is_no_option_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="no option of sbatch"):
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
