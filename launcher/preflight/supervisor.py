"""Whether somebody else works on this run already."""

from __future__ import annotations

import time

from launcher.preflight.check import Subject, Trouble
from launcher.runs import rival


def other_supervisor(subject: Subject) -> Trouble | None:
    """Two supervisors of one run would fence each other's checkpoints away."""
    found = rival(subject.layout)
    if found is None:
        return None
    run_id = subject.layout.run_id
    age = max(0.0, time.time() - found.heartbeat_at)
    return Trouble(
        what=f"run `{run_id}` is already supervised by {found.name} (heartbeat {age:.0f} s ago)",
        hint=f"watch it with `python -m launcher status run_id={run_id}`, end it with "
        f"`python -m launcher stop run_id={run_id}`, or take another run_id=",
    )
