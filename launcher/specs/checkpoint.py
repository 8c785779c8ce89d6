"""When checkpoints are written, kept and resumed from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """What the plan tells the ranks about checkpoints."""

    every_steps: int
    """Save after every so many optimiser steps; 0 saves only at the end and on a stop signal."""
    keep: int
    """How many newest commits retention leaves; at least 2, since the newest may be damaged."""
    resume: str
    """`auto`, `never`, `required`, or the step to go on from, in digits."""
