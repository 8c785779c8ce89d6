"""`cluster=slurm` on a real allocation: which nodes, how many ranks, under every engine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.engine_scripts import ENGINES, TORCH, WHO, reported
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
    return reported(folder / "outputs" / "runs" / "r")


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


# A person in a shell on the nodes.
TYPIST = str(Path(__file__).parent / "programs" / "typist.py")
SHELL = ["bash", "--norc", "-i"]
WORDS = "recipe=script script=who.py run_id=r device=cpu cluster=slurm"


def on_terminal(lab: Lab, folder: Path, shell: list[str], line: str) -> str:
    """Type `line` in the shell that `shell` starts on a terminal of the head."""
    (folder / "who.py").write_text(WHO.format(engine=TORCH))
    done = lab.run(
        "head",
        [sys.executable, TYPIST, *shell, line],
        env={"PS1": "ready-to-type "},
        cwd=f"/shared/{folder.name}",
        timeout_s=WITHIN_S,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "line", "hosts"),
    [
        ("srun -N2 -n4 --pty", "{launch}", ["host1"] * 3 + ["host2"]),
        ("srun -N2 --ntasks-per-node=1 --pty", "{launch}", ["host1", "host2"]),
        ("srun -N1 -n8 --gres=gpu:8 --pty", "{launch} slots=2", ["host1"] * 2),
        ("salloc -N2 -n2", "{launch}", ["host1", "host2"]),
        ("salloc -N2 -n2", "srun --overlap -N1 -n1 --pty {launch}", ["host1", "host2"]),
        ("srun -N2 -n4 --pty", "{launch} slots=1 < /dev/null 2>&1 | cat", ["host1", "host2"]),
        ("srun -N2 -n4 --pty", "setsid -w {launch} slots=1 < /dev/null", ["host1", "host2"]),
        (
            "srun -N2 -n4 --pty",
            "sbatch --wait --overcommit -N1 -n1 -w host3 --wrap '{launch}'",
            ["host3"],
        ),
        (
            "srun -N2 -n4 --pty",
            "tmux new-session -d '{launch} slots=1; tmux wait-for -S over'; tmux wait-for over",
            ["host1", "host2"],
        ),
    ],
)
def test_one_launcher_in_an_interactive_shell_uses_the_allocation(
    slurm_lab: Lab, folder: Path, shell: str, line: str, hosts: list[str]
) -> None:
    launch = f"{sys.executable} -m launcher {WORDS}"
    said = on_terminal(slurm_lab, folder, [*shell.split(), *SHELL], line.format(launch=launch))
    ranks = reported(folder / "outputs" / "runs" / "r")
    assert [each["host"] for each in ranks] == hosts, said


@pytest.mark.parametrize(
    "starts",
    [
        "srun -N2 -n4 {launch}",
        "srun -N2 -n4 sh -c '{launch}; true'",
        "srun -N2 -n4 timeout 60 {launch}",
        "srun -N2 -n4 setsid -w {launch}",
        "salloc -N2 -n4 srun {launch}",
        "script -qec 'srun -N2 -n4 --pty {launch}' /dev/null",
    ],
)
def test_a_launcher_in_each_task_of_a_step_is_refused(
    slurm_lab: Lab, folder: Path, starts: str
) -> None:
    (folder / "who.py").write_text(WHO.format(engine=TORCH))
    launch = f"{sys.executable} -m launcher {WORDS}"
    done = slurm_lab.run(
        "head",
        ["sh", "-c", starts.format(launch=launch)],
        cwd=f"/shared/{folder.name}",
        timeout_s=WITHIN_S,
        check=False,
    )
    assert "srun started the launcher 4 times" in done.stdout + done.stderr
    assert not (folder / "outputs" / "runs" / "r" / "logs").exists()
