"""Plans and records to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from launcher.specs import (
    CheckpointPolicy,
    Cluster,
    Node,
    Plan,
    Program,
    RankRecord,
    RankState,
    Rendezvous,
)


@pytest.fixture
def plan_of() -> Callable[..., Plan]:
    """Return what makes a plan with so many slots on each node."""
    return _plan_of


@pytest.fixture
def record() -> Callable[..., RankRecord]:
    """Return what makes the record of a training rank."""
    return _record


def _plan_of(*slots: int) -> Plan:
    nodes = tuple(
        Node(node_rank=rank, name=f"local{rank}", address="127.0.0.1", slots=count)
        for rank, count in enumerate(slots)
    )
    return Plan(
        run_id="r",
        attempt=1,
        recipe="script",
        storage_root="/s",
        cluster=Cluster(nodes=nodes, source="local"),
        backend="torchrun",
        transport="local",
        python="python3",
        device="cpu",
        program=Program(path="/t.py"),
        rendezvous=Rendezvous(address="127.0.0.1", port=1),
        checkpoint=CheckpointPolicy(every_steps=1, keep=2, resume="auto"),
    )


def _record(rank: int, node_rank: int, **values: Any) -> RankRecord:
    base: dict[str, Any] = {
        "rank": rank,
        "local_rank": 0,
        "node_rank": node_rank,
        "node": f"local{node_rank}",
        "host": "h",
        "pid": 1,
        "attempt": 1,
        "state": RankState.RUNNING,
        "started_at": 0.0,
        "heartbeat_at": 0.0,
        "progress_at": 0.0,
        "phase": "train",
    }
    return RankRecord(**{**base, **values})
