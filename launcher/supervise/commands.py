"""The commands of one attempt, each on its node."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from launcher.runs import events
from launcher.specs import Plan, RankRecord, RunLayout
from launcher.specs.secrets import RUN_SECRET
from launcher.supervise import run_processes
from launcher.supervise.event_log import EventLog
from launcher.transports import Process, Transport

_WAIT_S = 5.0
"""For the end of a killed process; only one that hangs in the kernel takes longer."""
_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class CommandEnded:
    """The end of one command."""

    node_rank: int
    node: str
    code: int
    lost: str
    """Why its node counts as lost; empty if the command ended by itself."""


class Commands:
    """Starts the commands of a plan and ends them."""

    def __init__(
        self, plan: Plan, transport: Transport, layout: RunLayout, event_log: EventLog
    ) -> None:
        self.plan = plan
        self.exit_codes: dict[int, int] = {}
        """Node rank -> exit code of each command that has ended."""
        self.superseded = False
        """A newer attempt runs: processes that we did not start may belong to it."""
        self._transport = transport
        self._layout = layout
        self._event_log = event_log
        self._processes: dict[int, Process] = {}
        self._names = {node.node_rank: node.name for node in plan.cluster.nodes}

    def start(self) -> None:
        """Start all commands, once what earlier attempts left on the nodes has ended.

        Raises:
            PreflightError: a command cannot be started; those that were started have ended again.
        """
        run_processes.end_leftovers(self._transport, self.plan, self._layout)
        folder = self._layout.attempt(self.plan.attempt)
        logs = {each.node_rank: folder.node_log(each.node_rank) for each in self.plan.commands}
        # Added here, because the plan is stored. An earlier attempt had another secret.
        secret = {RUN_SECRET: secrets.token_hex(_SECRET_BYTES)}
        commands = [replace(each, env={**each.env, **secret}) for each in self.plan.commands]
        self._processes = self._transport.start(commands, logs=logs)
        for node_rank, process in self._processes.items():
            node = self._names[node_rank]
            self._event_log.add(
                events.NodeStarted(at=time.time(), node_rank=node_rank, node=node, pid=process.pid)
            )

    def poll(self) -> list[CommandEnded]:
        """Return the commands that have ended since the last call."""
        ended = [
            CommandEnded(
                node_rank=node_rank, node=self._names[node_rank], code=code, lost=process.lost
            )
            for node_rank, process in self._running.items()
            if (code := process.poll()) is not None
        ]
        self.exit_codes |= {each.node_rank: each.code for each in ended}
        return ended

    @property
    def have_ended(self) -> bool:
        """Whether `poll` has returned the end of all of them."""
        return not self._running

    def signal(self, number: int) -> None:
        """Send a signal to every command that runs."""
        for process in self._running.values():
            process.signal(number)

    def kill(self) -> None:
        """Kill every command that runs, and every process of the run on this host."""
        for process in self._running.values():
            process.kill()
        self._reap()

    def end(self) -> None:
        """Kill everything that any of the commands left, and wait for its end."""
        for process in self._processes.values():
            process.kill()
            process.wait(_WAIT_S)
        self._reap()

    def dump_stacks(self, records: Iterable[RankRecord]) -> None:
        """Have the ranks of these records write their stacks to their logs."""
        run_processes.dump_stacks(self._transport, self._layout, records)

    @property
    def _running(self) -> dict[int, Process]:
        return {
            node_rank: process
            for node_rank, process in self._processes.items()
            if node_rank not in self.exit_codes
        }

    def _reap(self) -> None:
        if not self.superseded:
            run_processes.reap(self._layout)
