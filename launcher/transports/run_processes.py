"""Reaching the processes of a run on its nodes, also those that no transport holds any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from launcher.specs import RunLayout
from launcher.transports import remote
from launcher.transports.transport import Answer, Transport

__all__ = ["end_run", "send_signal"]

_ANSWER_WITHIN_S = 20.0


def end_run(
    transport: Transport, layout: RunLayout, node_ranks: Iterable[int]
) -> dict[int, Answer]:
    """Kill every process of the run on these nodes; `value["pids"]` are those that there were.

    For what an earlier attempt or supervisor may have left: a lost node that came back, orphans.
    """
    request = _run(layout)
    return transport.ask(
        remote.source("run_processes"),
        dict.fromkeys(node_ranks, request),
        timeout_s=_ANSWER_WITHIN_S,
    )


def send_signal(
    transport: Transport, layout: RunLayout, pids: Mapping[int, Sequence[int]], number: int
) -> dict[int, Answer]:
    """Send a signal to processes of the run, named by their ids per node rank.

    `value["pids"]` are those that got it: an id that is no longer the run's is left alone.
    """
    run = _run(layout)
    requests = {
        node_rank: {**run, "pids": list(theirs), "signal": number}
        for node_rank, theirs in pids.items()
    }
    return transport.ask(remote.source("run_processes"), requests, timeout_s=_ANSWER_WITHIN_S)


def _run(layout: RunLayout) -> dict[str, str]:
    return {"run_id": layout.run_id, "run_dir": str(layout.path)}
