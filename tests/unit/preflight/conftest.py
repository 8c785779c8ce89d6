from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.nodes import NodeNeeds, PreflightConfig
from launcher.preflight import Subject
from launcher.specs import (
    CheckpointPolicy,
    Cluster,
    Command,
    Node,
    Plan,
    Program,
    Rendezvous,
    RunLayout,
)
from tests.nodes_request import nodes_request


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    program = tmp_path / "train.py"
    program.write_text("pass\n")
    node = Node(node_rank=0, name="local0", address="127.0.0.1", slots=1)
    return Plan(
        run_id="r1",
        attempt=1,
        recipe="script",
        storage_root=str(tmp_path / "outputs"),
        cluster=Cluster(nodes=(node,), source="local"),
        backend="torchrun",
        transport="local",
        python="python3",
        device="cpu",
        program=Program(path=str(program)),
        rendezvous=Rendezvous(address="127.0.0.1", port=1),
        checkpoint=CheckpointPolicy(every_steps=0, keep=2, resume="auto"),
        commands=(Command(node_rank=0, argv=(sys.executable, "x"), cwd=str(tmp_path)),),
    )


@pytest.fixture
def layout(plan: Plan) -> RunLayout:
    return RunLayout.of(plan.storage_root, plan.run_id)


@pytest.fixture
def needs(plan: Plan) -> NodeNeeds:
    """What a run needs that runs wherever these tests run."""
    return needs_of(plan.storage_root)


@pytest.fixture
def subject(plan: Plan, layout: RunLayout, needs: NodeNeeds) -> Subject:
    return Subject(plan=plan, layout=layout, needs=needs)


def needs_of(root: str, min_free_gb: float = 0.0, **cluster: Any) -> NodeNeeds:
    return NodeNeeds(
        request=nodes_request("local", **cluster),
        root=Path(root),
        ports=tuple(range(20_000, 20_050)),
        preflight=PreflightConfig(min_free_gb=min_free_gb),
        brings_launcher=True,
        write=True,
    )
