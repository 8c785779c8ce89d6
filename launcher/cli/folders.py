"""From what was typed to folders: the user's configuration, the storage root, the run."""

from __future__ import annotations

from pathlib import Path

from launcher import config, runs
from launcher.cli import failure
from launcher.cli.arguments import Invocation
from launcher.errors import ConfigError
from launcher.specs import RunLayout


def config_dirs(invocation: Invocation) -> list[Path]:
    """Return the folders of `--config-dir`."""
    return [Path(folder) for folder in invocation.values("config-dir")]


def storage_root(invocation: Invocation) -> Path:
    """Return the storage root that the overrides name."""
    return Path(_loaded(invocation).storage.root)


def run_folder(invocation: Invocation, *, words: tuple[str, ...] | None = None) -> RunLayout:
    """Return the run that a word or `run_id=` names, or the newest one, saying which that is.

    Raises:
        UnknownNameError: there is no such run.
        ConfigError: more than one is named.
    """
    loaded = _loaded(invocation)
    named = list(invocation.words if words is None else words)
    named += [loaded.run_id] if loaded.run_id else []
    if len(set(named)) > 1:
        raise ConfigError(
            f"`{invocation.verb}` takes one run, not {' and '.join(named)}", hint="name one of them"
        )
    root = Path(loaded.storage.root)
    layout = runs.find(root, named[0] if named else "")
    if not named:
        failure.say(f"newest run: {layout.run_id}")
    return layout


def _loaded(invocation: Invocation) -> config.LaunchConfig:
    # Only where the run is matters here: overrides that change the run are for `resume`.
    wanted = [
        text for text in invocation.overrides if text.startswith(("run_id=", "storage.root="))
    ]
    if invocation.verb != "resume":
        wanted = list(invocation.overrides)
    return config.load(wanted, config_dirs=config_dirs(invocation), require_recipe=False)
