"""Shell completion: keys and choices come from Hydra; we add verbs, flags and runs.

`eval "$(launcher -sc install=bash)"` turns it on, as for every Hydra program. Hydra's shell
functions work for installed commands (`launcher`), not for `python -m launcher`.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.completion_plugin import CompletionPlugin

from launcher import config, runs
from launcher.cli import printing
from launcher.cli.arguments import flags_of
from launcher.cli.verbs import VERBS
from launcher.config.hydra_errors import FOREIGN
from launcher.config.keys import all_keys
from launcher.config.paths import find
from launcher.config.register import hydra
from launcher.errors import ConfigError, UnknownNameError

_ACTIONS = ("install", "uninstall", "query")
_RUN_VERBS = ("status", "logs", "why", "stop", "resume", "checkpoints")


def main(argv: Sequence[str]) -> int:
    """Install, uninstall or answer a query. `argv` is `-sc ACTION=SHELL`, as Hydra calls us.

    Raises:
        ConfigError: the action or the shell is unknown.
    """
    request = argv[1] if len(argv) > 1 else argv[0].partition("=")[2]
    action, _, shell = request.partition("=")
    if action not in _ACTIONS or not shell:
        raise ConfigError(
            f"expected {' or '.join(_ACTIONS)} with a shell, got `{' '.join(argv)}`",
            hint='eval "$(launcher --shell-completion install=bash)"',
        )
    with hydra(find()):
        plugin = _plugin(shell)
        if action == "install":
            plugin.install()
        elif action == "uninstall":
            plugin.uninstall()
        else:
            answers = answer(os.environ.get("COMP_LINE", ""), plugin)
            printing.raw(("\n" if shell == "fish" else " ").join(answers))
    return 0


def answer(line: str, plugin: CompletionPlugin) -> list[str]:
    """Return the completions of the last word of `line`."""
    *before, word = _words(line)
    verb = next((each for each in before if each in VERBS), "")
    if word.startswith("-"):
        names = [name for flag in flags_of(verb or "run") for name in flag.names]
        return sorted(name for name in names if name.startswith(word))
    if "=" in word:
        key = all_keys().get(word.partition("=")[0])
        if key is not None and key.choices:
            choices = (f"{key.name}={choice}" for choice in key.choices)
            return [choice for choice in choices if choice.startswith(word)]
        return _keys(before, word, plugin)
    ours = _run_ids() if verb in _RUN_VERBS else []
    ours += [] if verb else list(VERBS)
    return [each for each in ours if each.startswith(word)] + _keys(before, word, plugin)


def _words(line: str) -> list[str]:
    """Return the words after the program; the last one is incomplete, or empty."""
    words = line.split()[1:]
    return words if words and not line.endswith(" ") else [*words, ""]


def _keys(before: Sequence[str], word: str, plugin: CompletionPlugin) -> list[str]:
    """Ask Hydra, with overrides only: it does not know our verbs."""
    overrides = [each for each in before if "=" in each and not each.startswith("-")]
    os.environ["COMP_LINE"] = " ".join(["launcher", *overrides, word])
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            plugin.query("config")
    except FOREIGN:
        return []  # an earlier word is invalid: running the command reports it
    return [each for each in printed.getvalue().split() if not each.startswith("hydra")]


def _run_ids() -> list[str]:
    return [layout.run_id for layout in runs.list_runs(Path(config.default_root()))]


def _plugin(shell: str) -> CompletionPlugin:
    loader = GlobalHydra.instance().config_loader()
    found = cast(list[type[CompletionPlugin]], Plugins.instance().discover(CompletionPlugin))
    kinds = {kind.provides(): kind for kind in found}
    if shell not in kinds:
        raise UnknownNameError("shell", shell, kinds)
    return kinds[shell](loader)
