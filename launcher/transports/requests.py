"""What keepers are asked for, and what their answers to questions mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.specs import Command
from launcher.transports import far
from launcher.transports.transport import Answer

__all__ = [
    "START_WITHIN_S",
    "command_job",
    "common_job",
    "first_words",
    "keeper_words",
    "question",
    "read_answer",
]

_KEEPER = far.source("keeper").encode()
START_WITHIN_S = 60.0
"""From the first try to a running command: logins may come in crowds, and storage may be slow."""
_LEASE_OVERTIME_S = 10.0
"""A keeper gives up later than we do, so that a node which we still count on is never ended."""
_GRACE_S = 30.0
"""When the command's environment names none."""


def keeper_words(python: str) -> tuple[str, ...]:
    """Return the command line of a keeper.

    It runs isolated (-I, -S): neither a `json.py` in somebody's home folder nor a broken
    site-packages can keep it from starting.
    """
    return (python, "-I", "-S", "-c", far.bootstrap(_KEEPER))


def first_words(
    name: str, common: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """Return what a keeper reads first: itself, then its request.

    An empty `name` leaves it to the keeper to find out which of the nodes it is on.
    """
    request = {"name": name, "common": common, "jobs": jobs}
    return _KEEPER + f"{json.dumps(request)}\n".encode()


def common_job(*, without: Sequence[str] = (), lost_after_s: float) -> dict[str, Any]:
    """Return what all nodes are told: which of their own variables go, and how long they wait."""
    return {"without": without, "lease_s": lost_after_s + _LEASE_OVERTIME_S}


def command_job(command: Command, log: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the request to start `command`; `env` lies below its own variables."""
    return {
        "argv": command.argv,
        "cwd": command.cwd,
        "env": {**env, **command.env},
        "log": str(log),
        "grace_s": float(command.env.get("LAUNCHER_GRACE_S", _GRACE_S)),
    }


def question(
    source: str, timeout_s: float, *, env: Mapping[str, str], without: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what all nodes are told that have to run `source`."""
    return {
        "source": source,
        "bootstrap": far.bootstrap(source.encode()),
        "timeout_s": timeout_s,
        "env": env,
        "without": without,
    }


def read_answer(
    node_rank: int, message: Mapping[str, Any], *, timeout_s: float, seconds: float
) -> Answer:
    """Return what a node's last message says."""
    if "said" not in message:
        return Answer(node_rank=node_rank, problem=f"no answer within {timeout_s:g} s")
    try:
        value = json.loads(message["said"])
        if message["code"] == 0 and isinstance(value, dict):
            return Answer(node_rank=node_rank, value=value, seconds=seconds)
    except ValueError:
        pass
    words = message["complained"].strip().splitlines()
    last = words[-1] if words else f"what it printed is no JSON object: {message['said'][:100]!r}"
    return Answer(node_rank=node_rank, problem=f"exit code {message['code']}: {last}")
