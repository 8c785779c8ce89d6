"""Commands as a person would type them: for messages that say what to do next."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from launcher import config
from launcher.cli.arguments import Invocation
from launcher.errors import ConfigError


def no_words(invocation: Invocation) -> None:
    """Refuse words that the verb would silently ignore.

    Raises:
        ConfigError: there are some.
    """
    if invocation.words:
        word = invocation.words[0]
        raise ConfigError(
            f"`{word}` means nothing to `{invocation.verb}`",
            hint=f"an override is written `key=value`; a run is named `run_id={word}`",
        )


def program() -> str:
    """Return how the launcher itself was called."""
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "launcher"
    return "python -m launcher" if name in ("__main__.py", "-m", "-c") else name


def command(invocation: Invocation) -> str:
    """Return the command line that repeats `invocation` as a new run."""
    verb: tuple[str, ...] = () if invocation.verb == "run" else (invocation.verb,)
    dirs = [f"--config-dir={folder}" for folder in invocation.values("config-dir")]
    dirs += [f"--config={file}" for file in invocation.values("config")]
    overrides = [text for text in invocation.overrides if not text.startswith("run_id=")]
    if invocation.verb == "resume":
        verb = ("resume", *invocation.words)
    return " ".join([program(), shlex.join((*verb, *dirs, *overrides))]).rstrip()


def of_run(verb: str, run_id: str, where: str) -> str:
    """Return the command that does `verb` to a run."""
    return " ".join([program(), verb, run_id, where]).rstrip()


def storage_override(root: str) -> str:
    """Return the override that a later command needs to find `root`, empty when it needs none."""
    return "" if root == config.default_root() else shlex.quote(f"storage.root={root}")
