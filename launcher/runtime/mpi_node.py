"""``python -m launcher.runtime.mpi_node HOST``: the agent on a node whose ranks mpirun starts.

It waits for what the MPI launcher on the head wants to be run here, see `letterbox`, and runs that:
a daemon which starts the ranks. Requests to stop reach the ranks through MPI; this agent only ends
what is left when the grace is over.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.errors import ConfigError, LauncherError
from launcher.runtime.environ import LaunchEnviron
from launcher.runtime.exit_records import bury_silent
from launcher.runtime.mpirun import Agent, find, log_to_stderr, places, start
from launcher.runtime.rsh_agent import Letterbox
from launcher.runtime.wake import Wake

__all__ = ["main"]

_LOOK_S = 0.1
_DAEMONS = ("orted", "prted")
"""Of Open MPI 4 and of Open MPI 5."""
_INTO_THE_BACKGROUND = "--daemonize"
_PREFIXES = ("OPAL_PREFIX", "PRTE_PREFIX", "PMIX_PREFIX")


def main(argv: Sequence[str]) -> int:
    """Run the daemon to its end; return its exit code."""
    log_to_stderr()
    wake = Wake()
    wake.install()
    launch = LaunchEnviron.from_environ(os.environ)
    try:
        command = _wait_for_command(argv[0], launch, wake)
        if not command:
            return 0
        argv, prefixes = daemon(command)
        os.environ.update(prefixes)
        child = start(argv)
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    code = Agent(child, launch, wake, forwards=False).until_ended()
    bury_silent(places(os.environ, own=True), launch, exit_code=code or 1)
    return code


def daemon(command: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return what to run for `command`, and the variables that it needs.

    The daemon is the one that is installed here, and it stays in the foreground, so that it lives
    no longer than we do. Of what stands before it only this counts: whether an MPI that was not
    built for its place is told where it lies. Here it lies elsewhere, perhaps.

    Raises:
        ConfigError: it starts no daemon of an MPI that we know.
    """
    for place, word in enumerate(command):
        name = Path(word).name
        if name in _DAEMONS:
            found = find(name, os.environ)
            told = {before.partition("=")[0] for before in command[:place]} & set(_PREFIXES)
            words = [each for each in command[place + 1 :] if each != _INTO_THE_BACKGROUND]
            return [found, *words], dict.fromkeys(told, str(Path(found).parents[1]))
    raise ConfigError(
        f"MPI asks for something unknown on this node: {' '.join(command)[:200]}",
        hint="use Open MPI 4 or 5, or backend=torchrun",
    )


def _wait_for_command(host: str, launch: LaunchEnviron, wake: Wake) -> list[str]:
    """Return what came; nothing when we are to leave before."""
    box = Letterbox.of(host, launch)
    box.open()
    while (command := box.read()) is None:
        if wake.take_signals() or launch.parent_pid not in (None, os.getppid()):
            return []
        wake.wait(_LOOK_S)
    return command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
