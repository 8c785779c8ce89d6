"""Starts commands on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launcher.errors import PreflightError
from launcher.specs import Command
from launcher.transports.calls import Barrier, CallResult, Calls
from launcher.transports.channel import last_line
from launcher.transports.requests import (
    LOGIN_WITHIN_S,
    agent_argv,
    agent_input,
    limits,
    no_answer,
    question_settings,
    read_answer,
)
from launcher.transports.transport import Answer, Process, Reach

_MOST_TOGETHER = 8
_OVERTIME_S = 10.0
_PYTHON_HINT = "set another interpreter: cluster.python=/path/to/python"


class LocalTransport:
    """Starts each command as a child of this process, in a session of its own.

    Because of the session, the Ctrl-C of the terminal reaches only the supervisor, which decides
    what it means. `LAUNCHER_PARENT_PID` lets the started agent notice that this process died.
    """

    def __init__(self, reach: Reach) -> None:
        self._python = reach.python
        self._calls = Calls(_MOST_TOGETHER)

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
        self,
        source: str,
        requests: Mapping[int, Mapping[str, Any]],
        *,
        timeout_s: float,
        ready_within_s: float | None = None,
    ) -> dict[int, Answer]:
        settings = question_settings(source, timeout_s, ready_within_s, env={})
        barrier = None
        if ready_within_s is not None:
            barrier = Barrier({str(node_rank): node_rank for node_rank in requests})
        with ThreadPoolExecutor(len(requests) if barrier else _MOST_TOGETHER) as pool:
            asked = {
                node_rank: pool.submit(self._ask, node_rank, settings, request, barrier)
                for node_rank, request in requests.items()
            }
            return {node_rank: each.result() for node_rank, each in asked.items()}

    def _ask(
        self,
        node_rank: int,
        settings: Mapping[str, Any],
        request: Mapping[str, Any],
        barrier: Barrier | None,
    ) -> Answer:
        name = str(node_rank)
        try:
            call = self._calls.run(
                agent_argv(self._python),
                agent_input(name, settings, {name: {"request": request}}),
                (name,),
                limits(settings, overtime_s=_OVERTIME_S),
                barrier=barrier,
            )
        except OSError as error:
            problem = f"cannot run {self._python}: {error.strerror}"
            return Answer(node_rank=node_rank, problem=problem, hint=_PYTHON_HINT)
        finally:
            if barrier is not None:
                barrier.leave((name,))
        if name in call.replies:
            return read_answer(node_rank, call, name, settings)
        return Answer(node_rank=node_rank, problem=self._problem(call, settings), hint=_PYTHON_HINT)

    def _problem(self, call: CallResult, settings: Mapping[str, Any]) -> str:
        if call.code is not None:
            silent = f"{self._python} ended with code {call.code} and printed nothing"
            return last_line(call.stderr) or silent
        if call.hello_s is None:
            return f"{self._python} did not start our program within {LOGIN_WITHIN_S:g} s"
        return no_answer(settings)

    def close(self) -> None:
        """End the questions that are not answered yet."""
        self._calls.close()


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
