"""`stage`: bring model and data in place, and stop."""

from __future__ import annotations

from launcher import config, launch
from launcher.cli import commands
from launcher.cli.arguments import Invocation
from launcher.cli.display import RunDisplay, open_surface
from launcher.cli.folders import config_dirs


def main(invocation: Invocation) -> int:
    """Stage what the configuration names; a recipe is not needed when a model or data is."""
    commands.no_words(invocation)
    chosen = config.load(
        invocation.overrides, config_dirs=config_dirs(invocation), require_recipe=False
    )
    surface = open_surface()
    display = RunDisplay(surface)
    try:
        staged = launch.stage(chosen, progress=display)
    finally:
        display.close()
    if not staged:
        surface.say("nothing to stage: neither model nor data is named")
    for name, item in staged.items():
        surface.say(f"{name:<12}{item.path}")
    return 0
