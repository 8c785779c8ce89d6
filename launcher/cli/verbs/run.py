"""`run`: everything, from the configuration to the result."""

from __future__ import annotations

import sys
from pathlib import Path

from launcher import config, launch
from launcher.cli import batch, commands, failure
from launcher.cli.arguments import Invocation
from launcher.cli.display import RunDisplay, open_surface
from launcher.cli.display.summary import NextCommands, summary
from launcher.cli.folders import config_dirs
from launcher.config import LaunchConfig
from launcher.specs import Plan, RunLayout
from launcher.supervise import Outcome, OutcomeState


def main(invocation: Invocation) -> int:
    """Run once, or with `-m` every combination."""
    commands.no_words(invocation)
    if invocation.has("multirun"):
        from launcher.cli import multirun

        return multirun.main(invocation)
    return start(_load(invocation), repeat=commands.command(invocation))


def _load(invocation: Invocation) -> LaunchConfig:
    dirs = config_dirs(invocation)
    saved = invocation.values("config")
    if saved:
        return config.load_saved(Path(saved[-1]), invocation.overrides, config_dirs=dirs)
    return config.load(invocation.overrides, config_dirs=dirs)


def start(chosen: LaunchConfig, *, repeat: str) -> int:
    """Run what `chosen` says here, or hand it to the batch system; return the exit code.

    Raises:
        LauncherError: something kept it from starting.
    """
    if launch.submits(chosen):
        return batch.submit(chosen).exit_code
    return run(chosen, repeat=repeat).exit_code


def run(chosen: LaunchConfig, *, repeat: str) -> Outcome:
    """Run what `chosen` says, with a display, and show how it ended.

    Raises:
        LauncherError: something kept it from starting.
    """
    plans: list[Plan] = []
    surface = open_surface()
    display = RunDisplay(surface, echo=chosen.supervise.echo)

    def planned(plan: Plan) -> None:
        plans.append(plan)
        display.planned(plan)

    try:
        outcome = launch.run(chosen, observer=display, progress=display, on_plan=planned)
    except KeyboardInterrupt:
        display.close()
        if plans:
            surface.say(f"{'go on':<12}{_commands(chosen, plans[0].run_id, repeat).resume}", "bold")
        raise
    finally:
        display.close()
    layout = RunLayout.of(chosen.storage.root, outcome.run_id)
    if not plans:
        surface.say(f"{outcome.run_id} is done already; resume=never would start it over", "note")
    commands = _commands(chosen, outcome.run_id, repeat)
    lines = summary(outcome, layout, commands, Path.cwd())
    if outcome.state is OutcomeState.FAILED and not sys.stdout.isatty():
        failure.say("\n".join(text for text, _ in lines))
        return outcome
    for text, style in lines:
        surface.say(text, style)
    return outcome


def _commands(chosen: LaunchConfig, run_id: str, repeat: str) -> NextCommands:
    where = commands.storage_override(chosen.storage.root)
    return NextCommands(
        resume=commands.of_run("resume", run_id, where),
        why=commands.of_run("why", run_id, where),
        repeat=repeat,
    )
