"""``python -m launcher.runtime.mpirun -- mpirun -np 4 ...``: the agent around an MPI launcher.

mpirun takes SIGTERM as "kill everything". This agent takes it as everywhere here: it passes the
request on as SIGUSR1, which Open MPI and MPICH forward to every rank on every node, gives the ranks
their grace, and then ends what is left. The ranks' guards do the rest, see `guard`.
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
from launcher.runtime.exit_records import bury_silent
from launcher.runtime.rsh_agent import close_all
from launcher.runtime.wake import Wake

__all__ = ["Agent", "find", "log_to_stderr", "main", "places", "start"]

logger = logging.getLogger("launcher.runtime.mpirun")

_ECHO_S = 1.0
"""Requests this close to the first are the same one, see `watch.Patience`."""
_OVERTIME_S = 2.0
"""Guards end their ranks themselves when the grace is over; this much later mpirun is killed."""


def main(argv: Sequence[str]) -> int:
    """Run an MPI launcher to its end; return its exit code as a shell would tell it."""
    log_to_stderr()
    wake = Wake()
    wake.install()
    words = list(argv[1:]) if argv[:1] == ["--"] else list(argv)
    across = "--host" in words[:4]  # mpirun -np N --host ..., as `launcher.engines.mpi` writes it
    try:
        launcher = find(words[0], os.environ)
        if across:
            _require_open_mpi(launcher)
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    launch = LaunchEnviron.from_environ(os.environ)
    code = Agent(start([launcher, *words[1:]]), launch, wake).until_ended()
    if across:  # agents over there wait to be told what to run
        close_all(launch)
    bury_silent(places(os.environ, own=across), launch, exit_code=code or 1)
    return code


def start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start an MPI launcher, or a daemon of one, that lives no longer than this process."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509 - no thread runs here
    )


def log_to_stderr() -> None:
    """Show what the agent says among what its node prints."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s agent: %(message)s"))
    room = logging.getLogger("launcher")
    room.addHandler(handler)
    room.setLevel(logging.INFO)


def find(name: str, environ: Mapping[str, str]) -> str:
    """Return the program of MPI that belongs to this interpreter, else the one on PATH.

    Raises:
        EngineMissingError: there is none.
    """
    beside = os.path.dirname(sys.executable)  # noqa: PTH120 - not resolved: a venv links its python
    path = os.pathsep.join((beside, environ.get("PATH", os.defpath)))
    found = shutil.which(name, path=path)
    if found is None:
        raise EngineMissingError(
            f"`{name}` is not installed", hint="pip install 'hydra-torch-launcher[mpi]'"
        )
    return found


def _require_open_mpi(launcher: str) -> None:
    done = subprocess.run([launcher, "--version"], capture_output=True, text=True, check=False)
    if not re.search(r"Open ?MPI|OpenRTE|PRTE", done.stdout):
        raise ConfigError(
            f"`{launcher}` is no Open MPI, the only one that reaches other machines here",
            context=done.stdout.strip().partition("\n")[0],
            hint="pip install 'hydra-torch-launcher[mpi]' there, or use backend=torchrun",
        )


def places(environ: Mapping[str, str], *, own: bool) -> list[RankEnviron]:
    """Return the places of all ranks, or only those of this node.

    What became of the ranks of another machine is for the agent there to tell; if it cannot, then
    the machine is lost, and when its ranks last gave a sign of life must stay as it is.
    """
    found: list[RankEnviron] = []
    slots = slots_of(environ)
    for node_rank, count in enumerate(slots):
        found += [
            RankEnviron(
                rank=len(found) + local,
                world_size=sum(slots),
                local_rank=local,
                local_world_size=count,
                node_rank=node_rank,
                table="",
            )
            for local in range(count)
        ]
    here = int(environ.get("LAUNCHER_NODE_RANK") or 0)
    return [place for place in found if place.node_rank == here] if own else found


class Agent:
    """Waits for one MPI launcher or daemon; a launcher is passed on what we are asked."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        launch: LaunchEnviron,
        wake: Wake,
        *,
        forwards: bool = True,
    ) -> None:
        self._child = child
        self._forwards = forwards
        self._name = "mpirun" if forwards else "MPI's daemon"
        self._launch = launch
        self._wake = wake
        self._stop_at: float | None = None
        self._kill_at = float("inf")

    def until_ended(self) -> int:
        """Return how the launcher ended."""
        while (code := self._child.poll()) is None:
            now = time.monotonic()
            for number in self._wake.take_signals():
                self._request(number.name, now)
            if self._stop_at is None and self._launch.parent_pid not in (None, os.getppid()):
                self._request("the supervisor is gone", now)
            if now >= self._kill_at:
                self._kill()
            self._wake.wait(0.5)
        logger.info("%s left with exit code %d", self._name, code)
        return code if code >= 0 else 128 - code

    def _request(self, what: str, now: float) -> None:
        if self._stop_at is None:
            self._stop_at = now
            self._kill_at = now + self._launch.grace_s + _OVERTIME_S
            logger.info("%s: asking the ranks to save and leave", what)
        elif now - self._stop_at >= _ECHO_S:
            # The guards take a second request as "at once".
            self._kill_at = min(self._kill_at, now + _OVERTIME_S)
            logger.warning("%s again: killing the ranks", what)
        else:
            return
        if self._forwards:
            self._child.send_signal(signal.SIGUSR1)

    def _kill(self) -> None:
        logger.warning("the ranks did not leave: killing %s", self._name)
        self._child.kill()  # its guards, and so the ranks, die with it
        self._kill_at = float("inf")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
