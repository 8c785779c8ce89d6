"""Starts commands on other machines, each through a node agent over an ssh connection."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launcher.errors import PreflightError
from launcher.specs import Command, Node
from launcher.transports.calls import Barrier, Calls
from launcher.transports.channel import Channel, RemoteProcess, StartError
from launcher.transports.poller import Poller
from launcher.transports.requests import (
    LOGIN_WITHIN_S,
    OF_PYTHON,
    START_WITHIN_S,
    agent_argv,
    agent_input,
    command_job,
    command_settings,
    forwarded,
    limits,
    no_answer,
    question_settings,
    read_answer,
)
from launcher.transports.ssh_route import Routes
from launcher.transports.start_errors import (
    COMMAND_NOT_FOUND,
    Explanation,
    all_of,
    cannot_start_process,
    end_all,
    explain,
    late,
    no_hello,
    refused,
    unreachable,
)
from launcher.transports.transport import Answer, Process, Reach

_MOST_TOGETHER = 64
"""Logins mostly wait for the network. If they are too many for a server, they are retried."""
_OVERTIME_S = 10.0
"""A node agent gives up a question by itself: we wait this much longer for it to say so."""
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 4.0
_FILES_PER_NODE = 3
_OTHER_FILES = 256


class SshTransport:
    """Reaches nodes with the system's `ssh`, and the user's own configuration, keys and agent.

    On a node that is this machine, the node agent runs as a child, without ssh.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._nodes = {node.node_rank: node for node in reach.nodes}
        self._routes = Routes(reach.lost_after_s)
        self._poller = Poller(reach.lost_after_s)
        self._calls = Calls(_MOST_TOGETHER)

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        raise_file_limit(len(commands))
        for log in logs.values():
            log.parent.mkdir(parents=True, exist_ok=True)
        started: dict[int, RemoteProcess] = {}
        failed: list[PreflightError] = []
        env = forwarded(os.environ)
        with ThreadPoolExecutor(_MOST_TOGETHER) as pool:
            starting = {
                command.node_rank: pool.submit(self._start, command, logs[command.node_rank], env)
                for command in commands
            }
        for node_rank, future in starting.items():
            try:
                started[node_rank] = future.result()
            except PreflightError as error:
                failed.append(error)
        if failed:
            end_all(started.values())
            raise all_of(failed)
        return dict(started)

    def ask(
        self,
        source: str,
        requests: Mapping[int, Mapping[str, Any]],
        *,
        timeout_s: float,
        ready_within_s: float | None = None,
    ) -> dict[int, Answer]:
        settings = question_settings(
            source, timeout_s, ready_within_s, env=forwarded(os.environ), without=OF_PYTHON
        )
        barrier = None
        if ready_within_s is not None:  # all nodes have to be there together
            raise_file_limit(len(requests))
            barrier = Barrier({self._nodes[rank].name: rank for rank in requests})
        with ThreadPoolExecutor(len(requests) if barrier else _MOST_TOGETHER) as pool:
            asked = {
                node_rank: pool.submit(
                    self._ask, self._nodes[node_rank], settings, request, barrier
                )
                for node_rank, request in requests.items()
            }
        return {node_rank: future.result() for node_rank, future in asked.items()}

    def close(self) -> None:
        self._poller.close()
        self._calls.close()
        self._routes.close()

    def _start(self, command: Command, log: Path, env: Mapping[str, str]) -> RemoteProcess:
        node = self._nodes[command.node_rank]
        settings = command_settings(lost_after_s=self._reach.lost_after_s, without=OF_PYTHON)
        data = agent_input(node.name, settings, {node.name: command_job(command, log, env)})
        backoff = Backoff(START_WITHIN_S)
        while True:
            process = self._connect(node, command, data)
            channel = process.channel
            try:
                process.wait_for_start(backoff.left_s)
            except TimeoutError:
                process.kill()
                if channel.hello_at is None:
                    within_s, said = START_WITHIN_S, channel.greeting or channel.stderr()
                    raise unreachable(node, no_hello(within_s, said)) from None
                raise late(node, log, START_WITHIN_S) from None
            except StartError as error:
                if error.kind != "connection":
                    raise refused(process, error, log) from None
                explanation = self._explain(
                    node,
                    code=channel.process.returncode,
                    stderr=channel.stderr(),
                    greeting=channel.greeting,
                )
                if not (explanation.temporary and backoff.pause()):
                    raise unreachable(node, explanation) from None
            else:
                return process

    def _connect(self, node: Node, command: Command, data: bytes) -> RemoteProcess:
        try:
            channel = Channel(self._routes.argv(node, agent_argv(self._reach.python)), data)
        except FileNotFoundError:  # a node on this machine: else ssh reports it
            raise unreachable(node, self._not_found(node)) from None
        except OSError as error:
            raise unreachable(node, cannot_start_process(error)) from None
        process = RemoteProcess(node, command, channel)
        self._poller.add(channel, [process])
        return process

    def _ask(
        self,
        node: Node,
        settings: Mapping[str, Any],
        request: Mapping[str, Any],
        barrier: Barrier | None,
    ) -> Answer:
        try:
            return self._answer(node, settings, request, barrier)
        except FileNotFoundError:  # see `_connect`
            return _no_answer(node, self._not_found(node))
        except OSError as error:
            return _no_answer(node, cannot_start_process(error))
        except PreflightError as error:
            return Answer(node_rank=node.node_rank, problem=error.message, hint=error.hint)
        finally:
            if barrier is not None:
                barrier.leave((node.name,))

    def _answer(
        self,
        node: Node,
        settings: Mapping[str, Any],
        request: Mapping[str, Any],
        barrier: Barrier | None,
    ) -> Answer:
        data = agent_input(node.name, settings, {node.name: {"request": request}})
        backoff = Backoff(LOGIN_WITHIN_S)
        while True:
            call = self._calls.run(
                self._routes.argv(node, agent_argv(self._reach.python)),
                data,
                (node.name,),
                limits(settings, overtime_s=_OVERTIME_S, hello_s=backoff.left_s),
                barrier=barrier,
            )
            if node.name in call.replies:
                return read_answer(node.node_rank, call, node.name, settings)
            if call.code is None and call.hello_s is not None:
                return Answer(node_rank=node.node_rank, problem=no_answer(settings))
            explanation = (
                no_hello(LOGIN_WITHIN_S, call.greeting or call.stderr)
                if call.code is None
                else self._explain(node, code=call.code, stderr=call.stderr, greeting=call.greeting)
            )
            if not (explanation.temporary and backoff.pause()):
                return _no_answer(node, explanation)

    def _not_found(self, node: Node) -> Explanation:
        return self._explain(node, code=COMMAND_NOT_FOUND, stderr=self._reach.python)

    def _explain(
        self, node: Node, *, code: int | None, stderr: str = "", greeting: str = ""
    ) -> Explanation:
        return explain(node, self._reach.python, code=code, stderr=stderr, greeting=greeting)


class Backoff:
    """A deadline, and pauses before it that become longer."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._next_s = _FIRST_PAUSE_S

    @property
    def left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def pause(self) -> bool:
        """Pause; return False, without a pause, if the deadline is too near."""
        pause_s = self._next_s * random.uniform(0.5, 1.5)  # noqa: S311 - spreads the logins
        self._next_s = min(2 * self._next_s, _LONGEST_PAUSE_S)
        if pause_s > self.left_s:
            return False
        time.sleep(pause_s)
        return True


def raise_file_limit(nodes: int) -> None:
    """Let this process open as many files as `nodes` need; usual limits are enough for 250 nodes.

    Raises:
        PreflightError: the system does not allow so many.
    """
    needed = _FILES_PER_NODE * nodes + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise PreflightError(
            f"{nodes} nodes need {needed} open files, but this process is limited to {hard}",
            hint="raise the limit: `ulimit -Hn` prints it, /etc/security/limits.conf sets it",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _no_answer(node: Node, explanation: Explanation) -> Answer:
    return Answer(node_rank=node.node_rank, problem=explanation.problem, hint=explanation.hint)
