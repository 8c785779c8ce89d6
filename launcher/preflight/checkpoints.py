"""Whether the checkpoints that earlier attempts told of are still there."""

from __future__ import annotations

from launcher.preflight.check import Subject, Trouble
from launcher.runs.status import committed_step


def still_there(subject: Subject) -> Trouble | None:
    """A run that was saved must not begin at step 0 because a folder is gone.

    The ranks see only what is left in the checkpoint folder; the attempts' own records know more.
    """
    from launcher.checkpoint import list_commits  # noqa: PLC0415 - keeps start-up light

    layout, resume = subject.layout, subject.plan.checkpoint.resume
    if resume == "never" or list_commits(layout.checkpoints):
        return None
    step = committed_step(layout)
    if step is None and resume == "auto":
        return None
    if step is None:  # asked for here and not in the ranks, because not every program looks
        return Trouble(
            what=f"resume={resume}, but run `{layout.run_id}` has no checkpoint",
            hint="leave resume= out to start at step 0, or give the run_id= of a saved run",
        )
    return Trouble(
        what=f"run `{layout.run_id}` was saved at step {step}, but no checkpoint is left in "
        f"{layout.checkpoints}",
        hint="is the storage mounted? bring the folder back, or start over with resume=never",
    )
