"""`status`: how a run stands, from its folder and, while it waits in a queue, from Slurm."""

from __future__ import annotations

import dataclasses
import json
import time

from launcher import runs
from launcher.cli import batch, commands
from launcher.cli.arguments import Invocation
from launcher.cli.batch import Jobs
from launcher.cli.display.status import in_one_line, text
from launcher.cli.display.ticker import Ticker
from launcher.cli.folders import run_folder
from launcher.errors import PreflightError
from launcher.runs import RunState, RunStatus
from launcher.runs.command_line import CommandLine
from launcher.specs import RunLayout

_ENDED = (RunState.DONE, RunState.SAVED, RunState.STOPPED, RunState.FAILED, RunState.LOST)
_EVERY_S = 1.0
_QUEUE_EVERY_S = 5.0
"""While only the batch system knows more: asking it is work for the whole cluster."""


def main(invocation: Invocation) -> int:
    """Print it once, or with `--follow` until the run has ended."""
    layout = run_folder(invocation)
    line = commands.command_line(invocation)
    why = line.of_run(layout, "why")
    if invocation.has("json"):
        status, jobs = _look(layout, line)
        shown = [dataclasses.asdict(job) for job in jobs.going_on]
        print(json.dumps({**dataclasses.asdict(status), "jobs": shown}, indent=2))
        return 0
    status, jobs = _look(layout, line)
    if not invocation.has("follow"):
        print(text(status, why=why, jobs=jobs.told, advice=jobs.advice))
        return 0
    ticker = Ticker()
    while True:
        block = text(status, why=why, jobs=jobs.told, advice=jobs.advice)
        ticker.show(block=block, line=in_one_line(status, jobs.told))
        if status.state in _ENDED:
            return 0
        time.sleep(_EVERY_S if status.supervisor_alive else _QUEUE_EVERY_S)
        status, jobs = _look(layout, line)


def _look(layout: RunLayout, line: CommandLine) -> tuple[RunStatus, Jobs]:
    """Return the status, and how the jobs of the run are.

    Slurm is only asked while nobody supervises the run: then only it knows what comes next.
    """
    status = runs.read_status(layout)
    if status.supervisor_alive or status.state is RunState.DONE:
        return status, Jobs()
    try:
        jobs = batch.look(layout, line)
    except PreflightError as error:  # the folder still tells the rest
        return status, Jobs(told=(error.message,))
    return jobs.refine(status), jobs
