"""What an invocation refers to: configuration folders, a run, and the commands to offer next."""

from __future__ import annotations

import os
from pathlib import Path

from launcher import config, runs, units
from launcher.cli import messages
from launcher.cli.arguments import Invocation
from launcher.errors import ConfigError
from launcher.runs.command_line import CommandLine
from launcher.specs import RunLayout
from launcher.storage import expand_home


def config_dirs(invocation: Invocation) -> list[Path]:
    """Return the folders of `--config-dir`."""
    return [Path(folder) for folder in invocation.values("config-dir")]


def run_folder(invocation: Invocation, *, words: tuple[str, ...] | None = None) -> RunLayout:
    """Return the run that a word or `run_id=` names. Without a name, return and print the newest.

    Raises:
        UnknownNameError: the run does not exist.
        ConfigError: two runs are named.
    """
    loaded = _loaded(invocation)
    typed = invocation.words if words is None else words
    names = [expand_home(name, invocation.verb) for name in typed]
    names += [loaded.run_id] if loaded.run_id else []
    if len(set(names)) > 1:
        raise ConfigError(
            f"`{invocation.verb}` takes one run, got {' and '.join(names)}", hint="name one of them"
        )
    layout = runs.find(Path(loaded.storage.root), names[0] if names else "")
    if not names:
        messages.say(f"newest run: {layout.run_id}")
    return layout


def command_line(invocation: Invocation) -> CommandLine:
    """Return what builds the commands to offer after this one.

    With `LAUNCHER_STORAGE_ROOT`, every command names its root: another shell may not have it.
    """
    default = "" if "LAUNCHER_STORAGE_ROOT" in os.environ else config.default_root()
    return CommandLine(program=invocation.program, default_root=default)


def repeat(invocation: Invocation) -> str:
    """Return the command that does `invocation` again as a new run, without its secrets.

    Call it after the configuration is loaded: then references say which variables to export.
    """
    verb: tuple[str, ...] = () if invocation.verb == "run" else (invocation.verb,)
    dirs = [f"--config-dir={folder}" for folder in invocation.values("config-dir")]
    dirs += [f"--config={file}" for file in invocation.values("config")]
    overrides = [text for text in invocation.overrides if not text.startswith("run_id=")]
    shown = config.repeatable(overrides, os.environ)
    return units.shell_line((*invocation.program, *verb, *dirs, *shown))


def _loaded(invocation: Invocation) -> config.LaunchConfig:
    overrides = invocation.overrides
    if invocation.verb == "resume":  # its other overrides change the run
        overrides = tuple(
            text for text in overrides if text.startswith(("run_id=", "storage.root="))
        )
    return config.load(overrides, config_dirs=config_dirs(invocation), require_recipe=False)
