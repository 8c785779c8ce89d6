"""What is done on all machines of an attempt besides starting its commands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable

from launcher import transports
from launcher.specs import Plan, RankRecord, RankState, RunLayout
from launcher.supervise.event_log import HOST
from launcher.supervise.reap import send
from launcher.transports import Transport

_DUMP_WITHIN_S = 5.0
_ALIVE = (RankState.STARTING, RankState.RUNNING)


class Nodes:
    """The machines that the commands of one plan run on."""

    def __init__(self, transport: Transport, plan: Plan, layout: RunLayout) -> None:
        self._transport = transport
        self._plan = plan
        self._layout = layout

    def end_leftovers(self) -> None:
        """End what earlier attempts left there: on a lost node that came back, or orphans.

        A node that does not answer will not start its command either, which then says why.
        """
        if transports.TRANSPORTS[self._plan.transport].same_machine or self._plan.attempt == 1:
            return  # this machine is looked after already, or there is nothing that could be left
        started = [command.node_rank for command in self._plan.commands]
        transports.end_run(self._transport, self._layout, started)

    def dump_stacks(self, records: Iterable[RankRecord]) -> None:
        """Have all living ranks write their stacks to their logs; wait for that only a while."""
        elsewhere: dict[int, list[int]] = {}
        for record in records:
            if record.state not in _ALIVE:
                continue
            if record.host == HOST:
                send(record.pid, signal.SIGUSR2, self._layout)
            else:
                elsewhere.setdefault(record.node_rank, []).append(record.pid)
        if not elsewhere:
            return
        asking = threading.Thread(
            target=transports.send_signal,
            args=(self._transport, self._layout, elsewhere, signal.SIGUSR2),
            daemon=True,
        )
        asking.start()
        asking.join(_DUMP_WITHIN_S)
