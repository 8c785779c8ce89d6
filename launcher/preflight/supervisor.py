"""Whether somebody else works on this run already."""

from __future__ import annotations

from launcher.preflight.check import Subject, Trouble
from launcher.runs.lock import refusal, rival


def other_supervisor(subject: Subject) -> Trouble | None:
    """Two supervisors of one run would fence each other's checkpoints away."""
    found = rival(subject.layout)
    if found is None:
        return None
    what, hint = refusal(found, subject.layout, subject.commands)
    return Trouble(what=what, hint=f"{hint}, or take another run_id=")
