"""The contract of engines over all of ours, and a bare mpirun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.engines.mpi import FLAVOURS
from launcher.testing import EngineContract
from tests.needs import need

pytestmark = pytest.mark.process


class TestTorchrun(EngineContract):
    backend = "torchrun"
    engine = "torch"


class TestSingle(EngineContract):
    """A world of one needs no backend."""

    backend = "torchrun"
    engine = "single"
    ranks = 1


@pytest.mark.extras
class TestMpi(EngineContract):
    backend = "mpi"


@pytest.mark.extras
class TestHorovod(EngineContract):
    backend = "horovod"


@pytest.mark.extras
class TestHorovodOverMpi(EngineContract):
    backend = "horovod_mpi"
    engine = "horovod"


def bare_mpirun(program: Path, lines: str) -> subprocess.CompletedProcess[str]:
    """Run a program of `lines` on two ranks, as a person who has only mpirun would."""
    from launcher.runtime import mpirun

    need("mpi")
    program.write_text(lines)
    ours = ("LAUNCHER_", "MASTER_", "RANK", "WORLD_SIZE")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [
            *(mpirun.find("mpirun", os.environ), "-np", "2"),
            *(sys.executable, "-m", "launcher.runtime", "--", str(program)),
        ],
        env={**bare, **FLAVOURS, "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.extras
def test_a_bare_mpirun_gives_its_ranks_the_engine_of_mpi(tmp_path: Path) -> None:
    done = bare_mpirun(
        tmp_path / "program.py",
        "import pathlib\n"
        "from launcher import runtime\n"
        "ctx = runtime.init()\n"
        "found = f'{ctx.world_size} {ctx.engine.name}'\n"
        "pathlib.Path(__file__).with_name(f'{ctx.rank}.txt').write_text(found)\n",
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["2 mpi", "2 mpi"]


@pytest.mark.extras
def test_a_rank_of_a_bare_mpirun_that_fails_ends_those_that_wait_for_it(tmp_path: Path) -> None:
    done = bare_mpirun(
        tmp_path / "program.py",
        "from mpi4py import MPI\n"
        "if MPI.COMM_WORLD.rank == 1:\n"
        "    raise ValueError('this rank fails')\n"
        "MPI.COMM_WORLD.barrier()\n",
    )
    assert done.returncode == 1
    assert "ValueError: this rank fails" in done.stderr
