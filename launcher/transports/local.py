"""Starts commands on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import PreflightError
from launcher.specs import Command
from launcher.transports.transport import Process


class LocalTransport:
    """Starts each command as a child of this process, in a session of its own.

    The session keeps the terminal's Ctrl-C from the ranks: only the supervisor gets it, and decides
    what it means. `LAUNCHER_PARENT_PID` lets the started agent notice that this process died.
    """

    def start(
        self, command: Command, *, log: Path, extra_env: Mapping[str, str] | None = None
    ) -> Process:
        env = {
            **os.environ,
            **command.env,
            "LAUNCHER_PARENT_PID": str(os.getpid()),
            **(extra_env or {}),
        }
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            try:
                child = subprocess.Popen(
                    command.argv,
                    cwd=command.cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise PreflightError(
                    f"node {command.node_rank} cannot start `{command.argv[0]}`: {error.strerror}",
                    context=f"in the folder `{command.cwd}`",
                    hint=_hint(command),
                ) from error
        return LocalProcess(child)


class LocalProcess:
    """A child of this process and the group it leads."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._group_ended = False

    @property
    def pid(self) -> int:
        return self._child.pid

    def poll(self) -> int | None:
        return self._child.poll()

    def signal(self, number: int) -> None:
        # Popen looks whether the child has been waited for, so a reused process id is never hit.
        self._child.send_signal(number)

    def kill(self) -> None:
        # The group is named after the child's id, which stays taken while any process of the group
        # lives. Once the child was waited for and its group killed, the id may become a stranger's.
        if self._group_ended:
            return
        self._group_ended = self._child.poll() is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def wait(self, timeout_s: float | None = None) -> int | None:
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def _hint(command: Command) -> str:
    if not Path(command.cwd).is_dir():
        return f"create the folder, or start from another one: mkdir -p {command.cwd}"
    return "check that the program exists and may be executed: `python -m launcher plan` shows it"
