"""Batch jobs: submitting from a login node, looking at them, and asking for another start.

Slurm's own words stop here. The nodes of an allocation are `launcher.nodes.slurm`, how a command
reaches them is `launcher.transports`.
"""

from launcher.slurm.control import JobInfo, cancel, follow, look
from launcher.slurm.jobs import JobRecord, note_own, read, resume_of, run_id_of
from launcher.slurm.requeue import Requeue, requeue
from launcher.slurm.submit import (
    Submission,
    Submitted,
    all_or_nothing,
    early_warning,
    prepare,
    submit,
)

__all__ = [
    "JobInfo",
    "JobRecord",
    "Requeue",
    "Submission",
    "Submitted",
    "all_or_nothing",
    "cancel",
    "early_warning",
    "follow",
    "look",
    "note_own",
    "prepare",
    "read",
    "requeue",
    "resume_of",
    "run_id_of",
    "submit",
]
