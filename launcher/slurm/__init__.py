"""Batch jobs: submit them from a login node, read their state, and requeue them.

`launcher.nodes.slurm` reads the nodes of an allocation, `launcher.transports.srun` reaches
them, and `launcher.specs.slurm` has the variables of a job.
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
    require_accepted,
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
    "require_accepted",
    "resume_of",
    "run_id_of",
    "submit",
]
