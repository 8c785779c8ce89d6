"""`resume`: go on with a run, as it was configured, from its newest checkpoint."""

from __future__ import annotations

import dataclasses

from launcher import checkpoint, config
from launcher.cli.arguments import Invocation
from launcher.cli.commands import command_line
from launcher.cli.folders import config_dirs, run_folder
from launcher.cli.verbs.run import start


def main(invocation: Invocation) -> int:
    """Load the saved configuration, put the overrides on top, and run."""
    layout = run_folder(invocation)
    chosen = config.load_saved(
        layout.config, _without_run(invocation), config_dirs=config_dirs(invocation)
    )
    chosen = dataclasses.replace(
        chosen,
        run_id=layout.run_id,
        storage=dataclasses.replace(chosen.storage, root=str(layout.path.absolute().parent.parent)),
    )
    if not any(text.startswith("resume=") for text in invocation.overrides):
        # A run that was cut before its first checkpoint starts at 0; one with checkpoints never
        # does so silently.
        commits = checkpoint.list_commits(layout.checkpoints)
        chosen = dataclasses.replace(chosen, resume="required" if commits else "auto")
    return start(chosen, command_line(invocation))


def _without_run(invocation: Invocation) -> list[str]:
    return [text for text in invocation.overrides if not text.startswith(("run_id=", "storage."))]
