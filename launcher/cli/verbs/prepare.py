"""`plan` and `stage`: what `run` does before it starts anything, alone."""

from __future__ import annotations

import dataclasses
import json

from launcher import config, launch, preflight
from launcher.cli import messages, printing
from launcher.cli.arguments import Invocation
from launcher.cli.context import command_line, config_dirs
from launcher.cli.display import RunDisplay, open_surface
from launcher.config import compare
from launcher.plan import render
from launcher.slurm import Submission
from launcher.specs import RunLayout, to_json


def plan(invocation: Invocation) -> int:
    """Print the plan, as text or as JSON; with `-m` one for every combination."""
    commands, as_json = command_line(invocation), invocation.has("json")
    for number, overrides in enumerate(_all_overrides(invocation)):
        loaded = config.load(overrides, config_dirs=config_dirs(invocation))
        if launch.submits(loaded):  # the nodes are unknown until the job starts
            _print_submission(launch.submission(loaded), as_json=as_json)
            continue
        planned = launch.plan(loaded, commands)
        layout = RunLayout.of(planned.storage_root, planned.run_id)
        if layout.config.exists():
            same = dataclasses.replace(loaded, run_id=planned.run_id)
            compare.require_same_run(layout.config, same, commands)
        if number and not as_json:
            printing.out()
        if as_json:
            printing.raw(to_json(planned, indent=2))
        else:
            printing.out(render(planned))
        for problem in preflight.problems_of_program(planned):
            messages.say(f"warning: {problem.what}\n{problem.hint}")
    return 0


def stage(invocation: Invocation) -> int:
    """Stage the model and the data of the configuration; a recipe is optional."""
    loaded = config.load(
        invocation.overrides, config_dirs=config_dirs(invocation), require_recipe=False
    )
    surface = open_surface()
    display = RunDisplay(surface)
    try:
        staged = launch.stage(loaded, progress=display)
    finally:
        display.close()
    if not staged:
        surface.say("nothing to stage: set model= or data=")
    for name, item in staged.items():
        surface.say(f"{name:<12}{item.path}")
    return 0


def _all_overrides(invocation: Invocation) -> list[tuple[str, ...]]:
    if not invocation.has("multirun"):
        return [invocation.overrides]
    from launcher.cli import multirun

    return multirun.expanded(invocation)


def _print_submission(submission: Submission, *, as_json: bool) -> None:
    if as_json:
        printing.raw(json.dumps({"argv": submission.argv, "script": submission.script}, indent=2))
    else:
        printing.out(str(submission))
