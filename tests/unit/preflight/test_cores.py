from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.nodes import PreflightConfig
from launcher.preflight.check import Subject, Trouble
from launcher.preflight.cores import enough
from launcher.specs import CheckpointPolicy, Cluster, Node, Plan, Program, Rendezvous, RunLayout

CORES = len(os.sched_getaffinity(0))


def asked(source: str, *nodes: Node) -> Trouble | None:
    plan = Plan(
        run_id="r",
        attempt=1,
        recipe="script",
        storage_root="/s",
        cluster=Cluster(nodes=nodes, source=source),
        backend="torchrun",
        transport="local",
        python="python3",
        device="cpu",
        program=Program(path="/t.py"),
        rendezvous=Rendezvous(address="127.0.0.1", port=1),
        checkpoint=CheckpointPolicy(every_steps=0, keep=2, resume="auto"),
    )
    return enough(Subject(plan=plan, layout=RunLayout(Path("/s/runs/r")), config=PreflightConfig()))


def node(rank: int, slots: int) -> Node:
    return Node(node_rank=rank, name=f"n{rank}", address="127.0.0.1", slots=slots, cpus=2)


def test_more_ranks_than_this_machine_can_ever_carry_are_refused() -> None:
    trouble = asked("local", node(0, 64 * CORES + 1))
    assert trouble is not None
    assert f"{64 * CORES + 1} ranks share {CORES} core" in trouble.what
    assert "slots=" in trouble.hint
    assert asked("local", node(0, 64 * CORES)) is None


def test_local_nodes_count_together_because_they_are_one_machine() -> None:
    assert asked("local", *(node(rank, 1) for rank in range(64 * CORES + 1))) is not None


@pytest.mark.parametrize("source", ["hostfile", "slurm"])
def test_other_machines_are_judged_by_their_own_cores(source: str) -> None:
    trouble = asked(source, node(0, 1), node(1, 129))
    assert trouble is not None
    assert "129 ranks share 2 cores on n1" in trouble.what
    assert asked(source, node(0, 128)) is None


def test_ranks_on_gpus_are_not_counted_against_cores() -> None:
    assert asked("slurm", replace(node(0, 200), gpus=("0",))) is None
