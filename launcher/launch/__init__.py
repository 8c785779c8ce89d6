"""From a configuration to a finished run. `steps` is the table of contents: start reading there."""

from launcher.launch.prepared import new_run_id
from launcher.launch.steps import doctor, numbered, plan, run, stage, submission, submit, submits

__all__ = [
    "doctor",
    "new_run_id",
    "numbered",
    "plan",
    "run",
    "stage",
    "submission",
    "submit",
    "submits",
]
