"""`stop`: let a run save and leave, from any machine that sees its folder."""

from __future__ import annotations

from collections.abc import Sequence

from launcher import runs, slurm
from launcher.cli import batch, commands, failure
from launcher.cli.arguments import Invocation
from launcher.cli.folders import run_folder
from launcher.errors import PreflightError
from launcher.slurm import JobInfo
from launcher.specs import RunLayout


def main(invocation: Invocation) -> int:
    """Leave a request in the run's folder; its supervisor looks about once a second."""
    layout = run_folder(invocation)
    status = runs.read_status(layout)
    line = commands.command_line(invocation)
    if not status.supervisor_alive:
        jobs = batch.look(layout, line)
        _end_jobs(layout, jobs.going_on)
        if not jobs.going_on:
            print(f"{layout.run_id} is not running: it is {jobs.refine(status).state}")
        return 0
    runs.request_stop(layout)
    print(f"asked {layout.run_id} to save and leave ({status.supervisor})")
    try:
        _end_jobs(layout, [job for job in batch.look(layout, line).going_on if job.waiting])
    except PreflightError as error:  # what runs was asked, by the folder alone
        failure.say(f"warning: whether other jobs of it wait is not known: {error.message}")
    print(f"watch it:   {line.of_run(layout, 'status', options=['--follow'])}")
    print(f"resume it:  {line.of_run(layout, 'resume')}")
    return 0


def _end_jobs(layout: RunLayout, jobs: Sequence[JobInfo]) -> None:
    """Take batch jobs out of the queue, and end one that runs but supervises nothing yet.

    Tasks of an array that do supervise are runs of their own, and are asked as such.
    """
    for job in jobs:
        task = RunLayout(layout.path.with_name(f"{layout.run_id}-{job.task}")) if job.task else None
        if task and not job.waiting and runs.is_alive(runs.read_supervisor(task)):
            runs.request_stop(task)
            print(f"asked {task.run_id} to save and leave")
        else:
            slurm.cancel(job.job_id)
            print(f"cancelled {job}")
