"""The processes of a run, on this host and on its nodes: each is signalled by its id.

`launcher.transports.remote.run_processes` decides which processes belong to a run. It runs inside
this process for this host, and is sent to the other nodes.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence

from launcher.specs import Plan, RankRecord, RankState, RunLayout
from launcher.transports import TRANSPORTS, Answer, Transport, remote
from launcher.transports.remote import run_processes

HOST = socket.gethostname()

_ALIVE = (RankState.STARTING, RankState.RUNNING)
_ANSWER_WITHIN_S = 20.0
_DUMP_WITHIN_S = 5.0


def reap(layout: RunLayout) -> list[int]:
    """Kill every process of the run on this host and wait for its end; return their ids."""
    return run_processes.end(_marks(layout))


def end_on_nodes(
    transport: Transport, layout: RunLayout, node_ranks: Iterable[int]
) -> dict[int, Answer]:
    """Kill every process of the run on these nodes; `value["pids"]` are their ids."""
    return _ask(transport, dict.fromkeys(node_ranks, _request(layout)))


def signal_on_nodes(
    transport: Transport, layout: RunLayout, pids: Mapping[int, Sequence[int]], number: int
) -> dict[int, Answer]:
    """Send a signal to processes of the run, named by their ids per node rank.

    `value["pids"]` are those that received it: an id that is no longer the run's is skipped.
    """
    request = _request(layout)
    requests = {
        node_rank: {**request, "pids": list(ids), "signal": number}
        for node_rank, ids in pids.items()
    }
    return _ask(transport, requests)


def end_leftovers(transport: Transport, plan: Plan, layout: RunLayout) -> None:
    """End what earlier attempts left on other nodes: orphans, or a lost node that came back.

    A node that does not answer is skipped: it cannot start its command either, and says why then.
    """
    if TRANSPORTS[plan.transport].same_machine or plan.attempt == 1:
        return  # `reap` has done this machine; before a first attempt there is nothing to end
    end_on_nodes(transport, layout, [command.node_rank for command in plan.commands])


def dump_stacks(transport: Transport, layout: RunLayout, records: Iterable[RankRecord]) -> None:
    """Have all live ranks write their stacks to their logs; wait a few seconds at most."""
    alive = [record for record in records if record.state in _ALIVE]
    here = [record.pid for record in alive if record.host == HOST]
    run_processes.send(here, signal.SIGUSR2, _marks(layout))
    elsewhere: dict[int, list[int]] = {}
    for record in alive:
        if record.host != HOST:
            elsewhere.setdefault(record.node_rank, []).append(record.pid)
    if elsewhere:
        asking = threading.Thread(
            target=signal_on_nodes, args=(transport, layout, elsewhere, signal.SIGUSR2), daemon=True
        )
        asking.start()
        asking.join(_DUMP_WITHIN_S)


def _ask(transport: Transport, requests: Mapping[int, Mapping[str, object]]) -> dict[int, Answer]:
    source = remote.source("run_processes")
    return transport.ask(source, requests, timeout_s=_ANSWER_WITHIN_S)


def _request(layout: RunLayout) -> dict[str, str]:
    return {"run_id": layout.run_id, "run_dir": str(layout.path)}


def _marks(layout: RunLayout) -> set[bytes]:
    return run_processes.marks(**_request(layout))
