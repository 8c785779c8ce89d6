"""How the user called the launcher, and the commands that this makes right for messages."""

from __future__ import annotations

import shlex

from launcher import config
from launcher.cli.arguments import Invocation
from launcher.errors import ConfigError
from launcher.runs.command_line import CommandLine


def no_words(invocation: Invocation) -> None:
    """Refuse words that the verb would silently ignore.

    Raises:
        ConfigError: there are some.
    """
    if invocation.words:
        word = invocation.words[0]
        raise ConfigError(
            f"`{invocation.verb}` does not take the word `{word}`",
            hint=f"write an override as `key=value`, and name a run with `run_id={word}`",
        )


def command_line(invocation: Invocation) -> CommandLine:
    """Return what builds the commands to offer after this one."""
    return CommandLine(program=invocation.program, default_root=config.default_root())


def repeat(invocation: Invocation) -> str:
    """Return the command line that does `invocation` again, as a new run."""
    verb: tuple[str, ...] = () if invocation.verb == "run" else (invocation.verb,)
    dirs = [f"--config-dir={folder}" for folder in invocation.values("config-dir")]
    dirs += [f"--config={file}" for file in invocation.values("config")]
    overrides = [text for text in invocation.overrides if not text.startswith("run_id=")]
    return shlex.join((*invocation.program, *verb, *dirs, *overrides))
