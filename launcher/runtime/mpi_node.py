"""``python -m launcher.runtime.mpi_node HOST``: the agent on a node whose ranks mpirun starts.

It waits for a launch request from the MPI launcher on the head, see `rsh_agent`, and runs it: a
daemon of MPI, which starts the ranks. Stop requests reach the ranks through MPI; this agent only
kills what still runs after the grace period.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.errors import ConfigError, LauncherError
from launcher.runtime.environ import LaunchEnviron
from launcher.runtime.exit_records import mark_silent_ranks
from launcher.runtime.monitor import AgentSignals, log_to_stderr
from launcher.runtime.mpirun import MpiMonitor, find, places, start
from launcher.runtime.rsh_agent import LaunchRequest

__all__ = ["main"]

_POLL_S = 0.1
_DAEMONS = ("orted", "prted")
"""Of Open MPI 4 and of Open MPI 5."""
_INTO_THE_BACKGROUND = "--daemonize"
_PREFIXES = ("OPAL_PREFIX", "PRTE_PREFIX", "PMIX_PREFIX")


def main(argv: Sequence[str]) -> int:
    """Run the daemon until it ends; return its exit code."""
    log_to_stderr()
    signals = AgentSignals()
    signals.install()
    launch = LaunchEnviron.from_environ(os.environ)
    try:
        command = _wait_for_command(argv[0], launch, signals)
        if not command:
            return 0
        argv, prefixes = daemon(command)
        os.environ.update(prefixes)
        child = start(argv)
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    code = MpiMonitor(child, launch, signals, forwards=False).wait()
    mark_silent_ranks(places(os.environ, own=True), launch, exit_code=code or 1)
    return code


def daemon(command: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return what to run for `command`, and the variables that it needs.

    That is the daemon that is installed on this node, in the foreground, so that it ends with us.
    Of the words before it, only prefix variables matter: they say where an MPI lies that was moved
    after it was built. On this node it may lie elsewhere.

    Raises:
        ConfigError: `command` starts no daemon of a known MPI.
    """
    for place, word in enumerate(command):
        name = Path(word).name
        if name in _DAEMONS:
            program = find(name, os.environ)
            given = {before.partition("=")[0] for before in command[:place]} & set(_PREFIXES)
            words = [each for each in command[place + 1 :] if each != _INTO_THE_BACKGROUND]
            return [program, *words], dict.fromkeys(given, str(Path(program).parents[1]))
    raise ConfigError(
        f"MPI sent an unknown command to this node: {' '.join(command)[:200]}",
        hint="use Open MPI 4 or 5, or backend=torchrun",
    )


def _wait_for_command(host: str, launch: LaunchEnviron, signals: AgentSignals) -> list[str]:
    """Return the requested command; an empty list if we have to exit before one comes."""
    request = LaunchRequest.of(host, launch)
    request.create()
    while (command := request.read()) is None:
        if signals.take() or launch.parent_is_gone():
            return []
        signals.wait(_POLL_S)
    return command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
