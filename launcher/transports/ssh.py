"""Starts commands on other machines, each through a keeper at the end of an ssh connection."""

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
from launcher.transports.calls import Errand, Errands
from launcher.transports.channel import Kept, Link, Refusal, last_messages
from launcher.transports.poller import Switchboard
from launcher.transports.requests import (
    START_WITHIN_S,
    command_job,
    common_job,
    first_words,
    forwarded,
    keeper_words,
    question,
    read_answer,
)
from launcher.transports.ssh_route import Routes
from launcher.transports.start_errors import (
    COMMAND_NOT_FOUND,
    Failure,
    all_of,
    end_all,
    explain,
    late,
    no_process,
    refused,
    unreachable,
)
from launcher.transports.transport import Answer, Process, Reach

_MOST_AT_ONCE = 64
"""Logins mostly wait for the network; a server that they are too many for is asked again."""
_LOGIN_WITHIN_S = 15.0
"""On top of what a question may take."""
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 4.0


class SshTransport:
    """Reaches nodes by the system's `ssh`, with the user's own configuration, keys and agent.

    A node that is this machine is not reached by ssh: its keeper runs as a child.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._nodes = {node.node_rank: node for node in reach.nodes}
        self._routes = Routes(reach.lost_after_s)
        self._switchboard = Switchboard(reach.lost_after_s)
        self._errands = Errands()

    def start(self, commands: Sequence[Command], *, logs: Mapping[int, Path]) -> dict[int, Process]:
        make_room(len(commands))
        for log in logs.values():
            log.parent.mkdir(parents=True, exist_ok=True)
        started: dict[int, Process] = {}
        failed: list[PreflightError] = []
        env = forwarded(os.environ)
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            running = {
                command.node_rank: pool.submit(self._start, command, logs[command.node_rank], env)
                for command in commands
            }
        for node_rank, each in running.items():
            try:
                started[node_rank] = each.result()
            except PreflightError as error:
                failed.append(error)
        if failed:
            end_all(started.values())
            raise all_of(failed)
        return started

    def ask(
        self, source: str, requests: Mapping[int, Mapping[str, Any]], *, timeout_s: float
    ) -> dict[int, Answer]:
        common = question(source, timeout_s, env=forwarded(os.environ))
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            asked = {
                node_rank: pool.submit(self._ask, self._nodes[node_rank], common, request)
                for node_rank, request in requests.items()
            }
        return {node_rank: each.result() for node_rank, each in asked.items()}

    def close(self) -> None:
        self._switchboard.close()
        self._errands.close()
        self._routes.close()

    def _start(self, command: Command, log: Path, env: Mapping[str, str]) -> Process:
        node = self._nodes[command.node_rank]
        common = common_job(lost_after_s=self._reach.lost_after_s)
        job = command_job(command, log, env)
        first = first_words(node.name, common, {node.name: job})
        patience = Patience(START_WITHIN_S)
        while True:
            kept = self._connect(node, command, first)
            try:
                kept.wait_for_start(patience.left_s)
            except TimeoutError:
                kept.kill()
                raise late(node, log, START_WITHIN_S) from None
            except Refusal as refusal:
                if refusal.kind != "connection":
                    raise refused(kept, refusal, log) from None
                failure = self._explain(node, kept.link.process.returncode, kept.link.words())
                if not (failure.passing and patience.pause()):
                    raise unreachable(node, failure) from None
            else:
                return kept

    def _connect(self, node: Node, command: Command, first: bytes) -> Kept:
        try:
            link = Link(self._routes.argv(node, keeper_words(self._reach.python)), first)
        except FileNotFoundError:  # it is on this machine, or it would be ssh that says so
            raise unreachable(node, self._explain(node, COMMAND_NOT_FOUND, "")) from None
        except OSError as error:
            raise unreachable(node, no_process(error)) from None
        kept = Kept(node, command, link)
        self._switchboard.add(link, [kept])
        return kept

    def _ask(self, node: Node, common: Mapping[str, Any], request: Mapping[str, Any]) -> Answer:
        first = first_words(node.name, common, {node.name: {"request": request}})
        timeout_s = common["timeout_s"]
        patience = Patience(timeout_s + _LOGIN_WITHIN_S)
        while True:
            began = time.monotonic()
            try:
                errand = self._errands.run(
                    self._routes.argv(node, keeper_words(self._reach.python)),
                    first,
                    timeout_s=patience.left_s,
                )
            except FileNotFoundError:  # see `_connect`
                errand = Errand(code=COMMAND_NOT_FOUND, output=b"", words="")
            except OSError as error:
                none = no_process(error)
                return Answer(node_rank=node.node_rank, problem=none.problem, hint=none.hint)
            except PreflightError as error:
                return Answer(node_rank=node.node_rank, problem=error.message, hint=error.hint)
            seconds = time.monotonic() - began
            message = last_messages(errand.output).get(node.name)
            if message is not None:
                return read_answer(node.node_rank, message, timeout_s=timeout_s, seconds=seconds)
            if errand.code is None:
                problem = f"no answer within {timeout_s:g} s"
                return Answer(node_rank=node.node_rank, problem=problem)
            failure = self._explain(node, errand.code, errand.words)
            if not (failure.passing and patience.pause()):
                return Answer(node_rank=node.node_rank, problem=failure.problem, hint=failure.hint)

    def _explain(self, node: Node, code: int | None, words: str) -> Failure:
        return explain(node, self._reach.python, code=code, words=words)


class Patience:
    """A deadline, with pauses that grow until it."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._next_s = _FIRST_PAUSE_S

    @property
    def left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def pause(self) -> bool:
        """Wait a while; return False, at once, when the time is over."""
        pause_s = self._next_s * random.uniform(0.5, 1.5)  # noqa: S311 - spreads a crowd
        self._next_s = min(2 * self._next_s, _LONGEST_PAUSE_S)
        if pause_s > self.left_s:
            return False
        time.sleep(pause_s)
        return True


# Room for the pipes to many nodes at once.
_PER_LINK = 3
_OTHERS = 256


def make_room(links: int) -> None:
    """Let this process have as many open files as `links` take; usual limits do for 250 nodes.

    Raises:
        PreflightError: it may not have so many.
    """
    wanted = _PER_LINK * links + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise PreflightError(
            f"{links} nodes take {wanted} open files, and this process may have {hard}",
            hint="raise the limit: `ulimit -Hn` shows it, /etc/security/limits.conf sets it",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
