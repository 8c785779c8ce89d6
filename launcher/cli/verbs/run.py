"""`run`: everything, from the configuration to the result."""

from __future__ import annotations

import sys
from pathlib import Path

from launcher import config, failures, launch
from launcher.cli import batch, commands, failure
from launcher.cli.arguments import Invocation
from launcher.cli.display import RunDisplay, open_surface
from launcher.cli.display.summary import summary
from launcher.cli.folders import config_dirs
from launcher.config import LaunchConfig
from launcher.runs.command_line import CommandLine
from launcher.specs import Plan, RunLayout
from launcher.supervise import Outcome, OutcomeState


def main(invocation: Invocation) -> int:
    """Run once, or with `-m` every combination."""
    commands.no_words(invocation)
    if invocation.has("multirun"):
        from launcher.cli import multirun

        return multirun.main(invocation)
    line = commands.command_line(invocation)
    return start(_load(invocation), line, repeat=commands.repeat(invocation))


def _load(invocation: Invocation) -> LaunchConfig:
    dirs = config_dirs(invocation)
    saved = invocation.values("config")
    if saved:
        return config.load_saved(Path(saved[-1]), invocation.overrides, config_dirs=dirs)
    return config.load(invocation.overrides, config_dirs=dirs)


def start(chosen: LaunchConfig, commands: CommandLine, *, repeat: str = "") -> int:
    """Run what `chosen` says here, or hand it to the batch system; return the exit code.

    Raises:
        LauncherError: something kept it from starting.
    """
    if launch.submits(chosen):
        return batch.submit(chosen, commands).exit_code
    return run(chosen, commands, repeat=repeat).exit_code


def run(chosen: LaunchConfig, commands: CommandLine, *, repeat: str = "") -> Outcome:
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
        outcome = launch.run(
            chosen, observer=display, progress=display, on_plan=planned, commands=commands
        )
    except KeyboardInterrupt:
        display.close()
        if plans:
            layout = RunLayout.of(chosen.storage.root, plans[0].run_id)
            surface.say(f"{'resume':<12}{commands.of_run(layout, 'resume')}", "bold")
        raise
    finally:
        display.close()
    layout = RunLayout.of(chosen.storage.root, outcome.run_id)
    if not plans:
        surface.say(f"{outcome.run_id} is done already; resume=never would start it over", "note")
    failed = outcome.state is OutcomeState.FAILED
    report = failures.why(layout, outcome.attempts, commands=commands) if failed else ""
    lines = summary(outcome, layout, commands, repeat=repeat, report=report, cwd=Path.cwd())
    if failed and not sys.stdout.isatty():
        failure.say("\n".join(text for text, _ in lines))
        return outcome
    for text, style in lines:
        surface.say(text, style)
    return outcome
