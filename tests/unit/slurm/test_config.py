from __future__ import annotations

import pytest

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
