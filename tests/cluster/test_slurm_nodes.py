"""`cluster=slurm` on a real allocation: which nodes, how many ranks, under every engine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.engine_scripts import ENGINES, TORCH, WHO, told
from tests.lab import Lab

WITHIN_S = 300


@pytest.fixture
def folder(slurm_lab: Lab) -> Iterator[Path]:
    made = slurm_lab.shared / "slurm-nodes"
    made.mkdir()
    yield made
    shutil.rmtree(made)


def in_a_job(
    lab: Lab, folder: Path, engine: str, options: list[str], words: list[str]
) -> list[dict[str, Any]]:
    """Run the script in a batch job; return what its ranks tell, in their order."""
    (folder / "who.py").write_text(WHO.format(engine=engine))
    launch = f"{sys.executable} -m launcher recipe=script script=who.py run_id=r device=cpu"
    (folder / "job.sh").write_text(f"#!/bin/sh\nexec {launch} cluster=slurm {' '.join(words)}\n")
    done = lab.run(
        "head",
        ["sbatch", "--wait", "--output=job.log", *options, "job.sh"],
        cwd=f"/shared/{folder.name}",
        timeout_s=WITHIN_S,
        check=False,
    )
    log = folder / "job.log"
    said = log.read_text() if log.exists() else ""
    assert done.returncode == 0, f"{done.stderr}\n{said}"
    return told(folder / "outputs" / "runs" / "r")


@pytest.mark.parametrize(("backend", "engine"), list(ENGINES.values()), ids=list(ENGINES))
def test_ranks_stand_as_slurm_packs_the_tasks(
    slurm_lab: Lab, folder: Path, backend: str, engine: str
) -> None:
    found = in_a_job(slurm_lab, folder, engine, ["-N3", "-n5"], [f"backend={backend}"])
    assert [each["host"] for each in found] == ["host1"] * 3 + ["host2", "host3"]
    assert [each["node_rank"] for each in found] == [0, 0, 0, 1, 2]
    assert {(each["world"], each["sum"]) for each in found} == {(5, 10.0)}


def test_whole_nodes_without_tasks_take_one_rank_each(slurm_lab: Lab, folder: Path) -> None:
    found = in_a_job(slurm_lab, folder, TORCH, ["-N2", "--exclusive"], [])
    assert [each["host"] for each in found] == ["host1", "host2"]


def test_fewer_nodes_than_allocated_and_a_head_by_name(slurm_lab: Lab, folder: Path) -> None:
    found = in_a_job(
        slurm_lab, folder, TORCH, ["-N3"], ["nodes=2", "slots=2", "cluster.head=host3"]
    )
    assert [each["host"] for each in found] == ["host3", "host3", "host1", "host1"]
