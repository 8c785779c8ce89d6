"""`stop`: let a run save and leave, from any machine that sees its folder."""

from __future__ import annotations

from launcher import runs, slurm
from launcher.cli import batch, typed
from launcher.cli.arguments import Invocation
from launcher.cli.folders import run_folder, storage_root
from launcher.specs import RunLayout


def main(invocation: Invocation) -> int:
    """Leave a request in the run's folder; its supervisor looks about once a second."""
    layout = run_folder(invocation)
    status = runs.read_status(layout)
    where = typed.storage_override(str(storage_root(invocation)))
    cancelled = _cancel_waiting(layout, running=status.supervisor_alive)
    if not status.supervisor_alive:
        if not cancelled:
            print(f"{layout.run_id} is not running: it is {status.state}")
        return 0
    runs.request_stop(layout)
    print(f"asked {layout.run_id} to save and leave ({status.supervisor})")
    print(f"watch it:  {typed.of_run('status', layout.run_id, where)} --follow")
    print(f"go on:     {typed.of_run('resume', layout.run_id, where)}")
    return 0


def _cancel_waiting(layout: RunLayout, *, running: bool) -> bool:
    """Take the run's batch jobs out of the queue, and end one that runs but supervises nothing yet.

    Tasks of an array that do supervise are runs of their own, and are asked as such.
    """
    found = False
    for job in batch.jobs_of(layout):
        found = True
        task = RunLayout(layout.path.with_name(f"{layout.run_id}-{job.task}")) if job.task else None
        if task and not job.waiting and runs.is_alive(runs.read_supervisor(task)):
            runs.request_stop(task)
            print(f"asked {task.run_id} to save and leave")
        elif job.waiting or not running:
            slurm.cancel(job.job_id)
            print(f"cancelled {job}")
    return found
