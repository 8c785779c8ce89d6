"""Starts commands on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launcher.errors import PreflightError
from launcher.interrupts import interrupted
from launcher.specs import Command
from launcher.transports.remote import bootstrap
from launcher.transports.transport import Answer, Process, Reach

_MOST_TOGETHER = 8
_LOOK_EVERY_S = 0.2
_PYTHON_HINT = "set another interpreter: cluster.python=/path/to/python"


class LocalTransport:
    """Starts each command as a child of this process, in a session of its own.

    Because of the session, the Ctrl-C of the terminal reaches only the supervisor, which decides
    what it means. `LAUNCHER_PARENT_PID` lets the started agent notice that this process died.
    """

    def __init__(self, reach: Reach) -> None:
        self._python = reach.python

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        started: dict[int, Process] = {}
        try:
            for command in commands:
                started[command.node_rank] = _start(command, logs[command.node_rank])
        except PreflightError:
            for process in started.values():
                process.kill()
                process.wait()
            raise
        return started

    def ask(
        self, source: str, requests: Mapping[int, Mapping[str, Any]], *, timeout_s: float
    ) -> dict[int, Answer]:
        with ThreadPoolExecutor(_MOST_TOGETHER) as pool:
            asked = {
                node_rank: pool.submit(self._ask, node_rank, source, request, timeout_s)
                for node_rank, request in requests.items()
            }
            return {node_rank: each.result() for node_rank, each in asked.items()}

    def _ask(
        self, node_rank: int, source: str, request: Mapping[str, Any], timeout_s: float
    ) -> Answer:
        began, program = time.monotonic(), source.encode()
        try:
            argv = (self._python, "-c", bootstrap(program))
            output = _output(argv, program + json.dumps(request).encode(), timeout_s=timeout_s)
            value = json.loads(output)
        except subprocess.TimeoutExpired:
            return Answer(node_rank=node_rank, problem=f"no answer within {timeout_s:g} s")
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            return Answer(node_rank=node_rank, problem=last or str(error), hint=_PYTHON_HINT)
        except OSError as error:
            problem = f"cannot run {self._python}: {error.strerror}"
            return Answer(node_rank=node_rank, problem=problem, hint=_PYTHON_HINT)
        except ValueError as error:
            return Answer(node_rank=node_rank, problem=str(error))
        return Answer(node_rank=node_rank, value=value, seconds=time.monotonic() - began)

    def close(self) -> None:
        """Do nothing: there are no connections."""


def _output(argv: Sequence[str], text: bytes, *, timeout_s: float) -> bytes:
    """Return what a program that reads `text` prints. Nothing of it is left when this returns."""
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",  # with `-c`, modules are imported from the current folder first
        start_new_session=True,
    )
    deadline = time.monotonic() + timeout_s
    given: bytes | None = text
    with child:
        while True:
            try:
                output, errors = child.communicate(given, timeout=_LOOK_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                given = None  # it is sent only once
                if time.monotonic() < deadline and not interrupted.is_set():
                    continue
                os.killpg(child.pid, signal.SIGKILL)
                raise
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, argv, output, errors)
    return output


def _start(command: Command, log: Path) -> LocalProcess:
    env = {**os.environ, **command.env, "LAUNCHER_PARENT_PID": str(os.getpid())}
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

    @property
    def lost(self) -> str:
        return ""

    def poll(self) -> int | None:
        return self._child.poll()

    def signal(self, number: int) -> None:
        # Popen knows whether the child was waited for, so it never signals a reused process id.
        self._child.send_signal(number)

    def kill(self) -> None:
        # The group has the id of the child, which is not reused while a process of the group lives.
        # After the child was waited for and its group was killed, it may be reused.
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
        return f"create the folder (mkdir -p {command.cwd}), or start from another one"
    return "check that the program exists and is executable: `python -m launcher plan` prints it"
