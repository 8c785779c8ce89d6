"""Small valid values for tests: each takes the fields that the test is about, by name."""

from __future__ import annotations

from typing import Any

from launcher.runs.metrics import Pace
from launcher.runs.status import RunFacts, RunStatus, run_status
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


def node(node_rank: int = 0, **changes: Any) -> Node:
    values = {"name": f"local{node_rank}", "address": "127.0.0.1", "slots": 1}
    return Node(node_rank=node_rank, **{**values, **changes})


def cluster(*slots: int, source: str = "local") -> Cluster:
    """Return a cluster of one node per number, with so many slots."""
    nodes = tuple(node(rank, slots=count) for rank, count in enumerate(slots or (1,)))
    return Cluster(nodes=nodes, source=source)


def plan(*slots: int, **changes: Any) -> Plan:
    """Return the plan of a first attempt on local nodes with so many slots, one of 1 if omitted."""
    values: dict[str, Any] = {
        "run_id": "r1",
        "attempt": 1,
        "recipe": "script",
        "storage_root": "/storage",
        "cluster": cluster(*slots),
        "backend": "torchrun",
        "transport": "local",
        "python": "python3",
        "device": "cpu",
        "program": Program(path="/train.py"),
        "rendezvous": Rendezvous(address="127.0.0.1", port=20_000),
        "checkpoint": CheckpointPolicy(every_steps=10, keep=2, resume="auto"),
    }
    return Plan(**{**values, **changes})


def record(rank: int = 0, node_rank: int | None = None, **changes: Any) -> RankRecord:
    """Return the record of a rank that trains; each rank has a node of its own by default."""
    home = rank if node_rank is None else node_rank
    values: dict[str, Any] = {
        "local_rank": 0,
        "node_rank": home,
        "node": f"local{home}",
        "host": "host",
        "pid": 1000 + rank,
        "attempt": 1,
        "state": RankState.RUNNING,
        "started_at": 0.0,
        "heartbeat_at": 0.0,
        "progress_at": 0.0,
        "phase": "train",
    }
    return RankRecord(rank=rank, **{**values, **changes})


def status(plan: Plan, *records: RankRecord, now: float = 0.0, **changes: Any) -> RunStatus:
    """Return how a run stands whose supervisor is alive."""
    values: dict[str, Any] = {
        "run_id": plan.run_id,
        "attempt": plan.attempt,
        "plan": plan,
        "records": records,
        "history": {},
        "pace": Pace(),
    }
    return run_status(RunFacts(**{**values, **changes}), now=now)
