"""`run` and `resume`: from the configuration to the result."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from launcher import checkpoint, config, failures, launch
from launcher.cli import batch, messages
from launcher.cli.arguments import Invocation
from launcher.cli.context import command_line, config_dirs, repeat, run_folder
from launcher.cli.display import RunDisplay, open_surface
from launcher.cli.display.summary import summary
from launcher.config import LaunchConfig
from launcher.runs.command_line import CommandLine
from launcher.specs import Plan, RunLayout
from launcher.storage import expand_home
from launcher.supervise import RunResult, Verdict


def run(invocation: Invocation) -> int:
    """Run once, or with `-m` every combination."""
    if invocation.has("multirun"):
        from launcher.cli import multirun

        return multirun.main(invocation)
    dirs, saved = config_dirs(invocation), invocation.values("config")
    if saved:
        file = Path(expand_home(saved[-1], "--config"))
        loaded = config.load_saved(file, invocation.overrides, config_dirs=dirs)
    else:
        loaded = config.load(invocation.overrides, config_dirs=dirs)
    return start(loaded, command_line(invocation), again=repeat(invocation))


def resume(invocation: Invocation) -> int:
    """Run with the saved configuration of a run, and the overrides on top of it."""
    layout = run_folder(invocation)
    loaded = config.load_saved(
        layout.config,
        [text for text in invocation.overrides if not text.startswith(("run_id=", "storage."))],
        config_dirs=config_dirs(invocation),
    )
    root = str(layout.path.absolute().parent.parent)
    loaded = dataclasses.replace(
        loaded, run_id=layout.run_id, storage=dataclasses.replace(loaded.storage, root=root)
    )
    if not any(text.startswith("resume=") for text in invocation.overrides):
        # Without any checkpoint it starts at step 0. With checkpoints it never does so silently.
        commits = checkpoint.list_commits(layout.checkpoints)
        loaded = dataclasses.replace(loaded, resume="required" if commits else "auto")
    return start(loaded, command_line(invocation))


def start(loaded: LaunchConfig, commands: CommandLine, *, again: str = "") -> int:
    """Run here, or submit a batch job; return the exit code.

    Raises:
        LauncherError: the run cannot start.
    """
    if launch.submits(loaded):
        return batch.submit(loaded, commands).exit_code
    return run_here(loaded, commands, again=again).exit_code


def run_here(loaded: LaunchConfig, commands: CommandLine, *, again: str = "") -> RunResult:
    """Run with a display, and show the result. `again` is the command that repeats the run.

    Raises:
        LauncherError: the run cannot start.
    """
    plans: list[Plan] = []
    surface = open_surface()
    display = RunDisplay(surface, echo=loaded.supervise.echo)

    def planned(plan: Plan) -> None:
        plans.append(plan)
        display.planned(plan)

    try:
        result = launch.run(
            loaded, observer=display, progress=display, on_plan=planned, commands=commands
        )
    except KeyboardInterrupt:
        display.close()
        if plans:
            layout = RunLayout.of(loaded.storage.root, plans[0].run_id)
            if layout.config.exists():
                surface.say(f"{'resume':<12}{commands.of_run(layout, 'resume')}", "bold")
        raise
    finally:
        display.close()
    layout = RunLayout.of(loaded.storage.root, result.run_id)
    if not plans:
        surface.say(f"{result.run_id} is already done; resume=never starts it over", "note")
    failed = result.state is Verdict.FAILED
    report = failures.why(layout, result.attempts, commands=commands) if failed else ""
    lines = summary(result, layout, commands, again=again, report=report, cwd=Path.cwd())
    if failed and not sys.stdout.isatty():
        messages.say("\n".join(text for text, _ in lines))
        return result
    for text, style in lines:
        surface.say(text, style)
    return result
