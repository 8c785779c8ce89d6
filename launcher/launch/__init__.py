"""From a configuration to a finished run. `steps` is the table of contents: start reading there."""

from launcher.launch.steps import doctor, numbered, plan, run, stage, submission, submit, submits

__all__ = [
    "doctor",
    "numbered",
    "plan",
    "run",
    "stage",
    "submission",
    "submit",
    "submits",
]
