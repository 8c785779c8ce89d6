"""`plan`: print everything that would be run, and stop."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from launcher import config, launch
from launcher.cli import commands, failure
from launcher.cli.arguments import Invocation
from launcher.cli.folders import config_dirs
from launcher.config import compare
from launcher.plan import render
from launcher.slurm import Submission
from launcher.specs import Plan, RunLayout, to_json
from launcher.specs.secrets import mask, redact


def main(invocation: Invocation) -> int:
    """Print the plan, as text or as JSON; with `-m` one for every combination."""
    commands.no_words(invocation)
    line = commands.command_line(invocation)
    for number, overrides in enumerate(_all_overrides(invocation)):
        chosen = config.load(overrides, config_dirs=config_dirs(invocation))
        if launch.submits(chosen):
            _print_submission(launch.submission(chosen), as_json=invocation.has("json"))
            continue
        made = launch.plan(chosen, line)
        layout = RunLayout.of(made.storage_root, made.run_id)
        if layout.config.exists():
            now = dataclasses.replace(chosen, run_id=made.run_id)
            compare.require_same_run(layout.config, now, line)
        if number and not invocation.has("json"):
            print()
        print(to_json(_masked(made), indent=2) if invocation.has("json") else render(made))
        _warn(made)
    return 0


def _print_submission(made: Submission, *, as_json: bool) -> None:
    """Outside of an allocation nobody knows the nodes: what would happen is a submission."""
    if as_json:
        print(json.dumps({"argv": made.argv, "script": made.script}, indent=2))
    else:
        print(made)


def _all_overrides(invocation: Invocation) -> list[tuple[str, ...]]:
    if not invocation.has("multirun"):
        return [invocation.overrides]
    from launcher.cli import multirun

    return multirun.expanded(invocation)


def _warn(made: Plan) -> None:
    if not any(Path(each).is_file() for each in (made.program.path, made.source)):
        failure.say(f"warning: the program {made.source} is not there")


def _masked(made: Plan) -> Plan:
    """A plan holds no secrets by construction; what a user put in a URI or variable is hidden."""
    commands = (dataclasses.replace(each, env=mask(each.env)) for each in made.commands)
    items = (dataclasses.replace(each, uri=redact(each.uri)) for each in made.stage)
    return dataclasses.replace(made, commands=tuple(commands), stage=tuple(items))
