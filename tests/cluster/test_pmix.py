"""`srun --mpi=pmix` typed by a person: Slurm starts the ranks, MPI connects them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from launcher.specs import RunLayout
from tests.lab import Lab
from tests.needs import missing

pytestmark = pytest.mark.skipif(bool(missing("mpi")), reason=missing("mpi") or "it is there")

WITHIN_S = 300

OURS = """
import json, pathlib, socket, sys
import torch
from launcher import runtime
ctx = runtime.init()
total = ctx.engine.all_reduce(torch.tensor([float(ctx.rank)])).item()
pathlib.Path(f"{ctx.rank}.json").write_text(json.dumps({
    "engine": ctx.engine.name, "host": socket.gethostname(), "world": ctx.world_size,
    "node": ctx.node_rank, "local": [ctx.local_rank, ctx.local_world_size], "sum": total,
    "gathered": ctx.engine.all_gather_object(ctx.rank),
}))
print("said by", ctx.rank)
"""

PLAIN = """
import json, pathlib, socket
from mpi4py import MPI
world = MPI.COMM_WORLD
pathlib.Path(f"{world.rank}.json").write_text(json.dumps({
    "host": socket.gethostname(), "world": world.size, "sum": world.allreduce(world.rank),
}))
"""

FAILS = """
from launcher import runtime
ctx = runtime.init()
ctx.engine.barrier(200)
if ctx.rank == 1:
    raise ValueError("this rank fails")
ctx.engine.broadcast_object("never", root=1)
"""


@pytest.fixture
def folder(slurm_lab: Lab) -> Iterator[Path]:
    made = slurm_lab.shared / "pmix"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def srun(lab: Lab, folder: Path, program: str, *module: str) -> CompletedProcess[str]:
    """Run `program` on two nodes, which take two ranks and one."""
    (folder / "program.py").write_text(program)
    step = ["srun", "--mpi=pmix", "-N2", "-n3", sys.executable, *module, "program.py"]
    where = f"/shared/{folder.name}"
    env = {"LAUNCHER_RUN_DIR": f"{where}/run"}
    return lab.run("head", step, cwd=where, env=env, timeout_s=WITHIN_S, check=False)


def reported(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(3)]


def hosts(found: list[dict[str, Any]]) -> tuple[int, ...]:
    """Count the ranks that follow each other on one host; Slurm chooses which hosts these are."""
    return tuple(len(list(ranks)) for _, ranks in groupby(each["host"] for each in found))


def states(folder: Path) -> list[str]:
    attempt = RunLayout(folder / "run").attempt(1)
    return [json.loads(attempt.rank_record(rank).read_text())["state"] for rank in range(3)]


def test_ranks_of_srun_get_the_engine_of_mpi_and_slurms_places(
    slurm_lab: Lab, folder: Path
) -> None:
    done = srun(slurm_lab, folder, OURS, "-m", "launcher.runtime")
    assert done.returncode == 0, done.stderr
    found = reported(folder)
    assert hosts(found) == (2, 1)
    assert [each["node"] for each in found] == [0, 0, 1]
    assert [each["local"] for each in found] == [[0, 2], [1, 2], [0, 1]]
    for each in found:
        assert (each["engine"], each["world"], each["sum"]) == ("mpi", 3, 3.0)
        assert each["gathered"] == [0, 1, 2]
    assert states(folder) == ["done"] * 3
    log = RunLayout(folder / "run").attempt(1).rank_log(1, 2)
    assert "said by 2" in log.read_text()


@pytest.mark.parametrize("module", [(), ("-m", "launcher.runtime")], ids=["alone", "in our shim"])
def test_a_plain_mpi_script_runs_under_srun(
    slurm_lab: Lab, folder: Path, module: tuple[str, ...]
) -> None:
    done = srun(slurm_lab, folder, PLAIN, *module)
    assert done.returncode == 0, done.stderr
    found = reported(folder)
    assert hosts(found) == (2, 1)
    assert {(each["world"], each["sum"]) for each in found} == {(3, 3)}


def test_a_rank_that_fails_ends_the_step_while_others_wait_for_it(
    slurm_lab: Lab, folder: Path
) -> None:
    done = srun(slurm_lab, folder, FAILS, "-m", "launcher.runtime")
    assert done.returncode != 0
    assert states(folder)[1] == "failed"
    log = RunLayout(folder / "run").attempt(1).rank_log(0, 1)
    assert "this rank fails" in log.read_text()
