"""``python -m launcher.runtime.mpirun -- mpirun -np 4 ...``: the agent around an MPI launcher.

mpirun takes SIGTERM as "kill everything". This agent forwards a stop request as SIGUSR1 instead,
which Open MPI and MPICH pass on to every rank on every node, gives the ranks their grace period,
and then kills what still runs. The guards of the ranks do the rest, see `guard`.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from launcher.errors import ConfigError, EngineMissingError, LauncherError
from launcher.runtime.children import die_with
from launcher.runtime.environ import LaunchEnviron, RankEnviron, slots_of
from launcher.runtime.exit_records import mark_silent_ranks
from launcher.runtime.monitor import AgentSignals, log_to_stderr
from launcher.runtime.rsh_agent import close_all

__all__ = ["MpiMonitor", "find", "main", "places", "start"]

logger = logging.getLogger("launcher.runtime.mpirun")

_DUPLICATE_S = 1.0
"""Requests within this time of the first are the same one, see `monitor.Timeouts`."""
_OVERTIME_S = 2.0
"""The guards kill their ranks after the grace period; so much later we kill mpirun."""


def main(argv: Sequence[str]) -> int:
    """Run an MPI launcher until it ends; return its exit code as a shell reports it."""
    log_to_stderr()
    signals = AgentSignals()
    signals.install()
    words = list(argv[1:]) if argv[:1] == ["--"] else list(argv)
    several_hosts = "--host" in words[:4]  # `mpirun -np N --host ...`, see `launcher.engines.mpi`
    try:
        launcher = find(words[0], os.environ)
        if several_hosts:
            _require_open_mpi(launcher)
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if not several_hosts:
        # Ranks of one machine use shared memory. With `tcp` each would listen on all addresses.
        os.environ.setdefault("OMPI_MCA_btl", "^tcp")
    launch = LaunchEnviron.from_environ(os.environ)
    code = MpiMonitor(start([launcher, *words[1:]]), launch, signals).wait()
    if several_hosts:  # the agents of the other nodes may still wait for a request
        close_all(launch)
    mark_silent_ranks(places(os.environ, own=several_hosts), launch, exit_code=code or 1)
    return code


def start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start an MPI launcher, or one of its daemons, that dies with this process."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509 - no thread runs here
    )


def find(name: str, environ: Mapping[str, str]) -> str:
    """Return the path of an MPI program: the one of this interpreter, else the one on PATH.

    Raises:
        EngineMissingError: it is not installed.
    """
    beside = os.path.dirname(sys.executable)  # noqa: PTH120 - not resolved: a venv links its python
    path = os.pathsep.join((beside, environ.get("PATH", os.defpath)))
    program = shutil.which(name, path=path)
    if program is None:
        raise EngineMissingError(
            f"`{name}` is not installed", hint="pip install 'hydra-torch-launcher[mpi]'"
        )
    return program


def _require_open_mpi(launcher: str) -> None:
    done = subprocess.run(
        [launcher, "--version"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if not re.search(r"Open ?MPI|OpenRTE|PRTE", done.stdout):
        raise ConfigError(
            f"several machines require Open MPI, and `{launcher}` is another MPI",
            context=done.stdout.strip().partition("\n")[0],
            hint="pip install 'hydra-torch-launcher[mpi]' on every node, or use backend=torchrun",
        )


def places(environ: Mapping[str, str], *, own: bool) -> list[RankEnviron]:
    """Return the places of all ranks, or only those of this node.

    Only the agent of a node knows what became of its ranks. If it cannot report it, the node is
    lost, and the last sign of life of its ranks must stay in their records.
    """
    every: list[RankEnviron] = []
    slots = slots_of(environ)
    for node_rank, count in enumerate(slots):
        every += [
            RankEnviron(
                rank=len(every) + local,
                world_size=sum(slots),
                local_rank=local,
                local_world_size=count,
                node_rank=node_rank,
                set_by="",
            )
            for local in range(count)
        ]
    here = int(environ.get("LAUNCHER_NODE_RANK") or 0)
    return [place for place in every if place.node_rank == here] if own else every


class MpiMonitor:
    """Waits for an MPI launcher or one of its daemons; forwards stop requests to a launcher."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        launch: LaunchEnviron,
        signals: AgentSignals,
        *,
        forwards: bool = True,
    ) -> None:
        self._child = child
        self._forwards = forwards
        self._name = "mpirun" if forwards else "the daemon of MPI"
        self._launch = launch
        self._signals = signals
        self._stop_at: float | None = None
        self._kill_at = float("inf")

    def wait(self) -> int:
        """Return its exit code, as a shell reports it, once it has ended."""
        while (code := self._child.poll()) is None:
            now = time.monotonic()
            for number in self._signals.take():
                self._request(f"received {number.name}", now)
            if self._stop_at is None and self._launch.parent_is_gone():
                self._request("the supervisor is gone", now)
            if now >= self._kill_at:
                self._kill()
            self._signals.wait(0.5)
        logger.info("%s exited with code %d", self._name, code)
        return code if code >= 0 else 128 - code

    def _request(self, reason: str, now: float) -> None:
        if self._stop_at is None:
            self._stop_at = now
            self._kill_at = now + self._launch.grace_s + _OVERTIME_S
            logger.info("%s: stopping the ranks", reason)
        elif now - self._stop_at >= _DUPLICATE_S:
            # The guards kill their ranks at a second request.
            self._kill_at = min(self._kill_at, now + _OVERTIME_S)
            logger.warning("%s again: killing the ranks", reason)
        else:
            return
        if self._forwards:
            self._child.send_signal(signal.SIGUSR1)

    def _kill(self) -> None:
        logger.warning("the ranks did not exit: killing %s", self._name)
        self._child.kill()  # its guards, and so the ranks, die with it
        self._kill_at = float("inf")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
