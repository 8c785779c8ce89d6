"""The status of a run, as a few lines and a table, or as one line."""

from __future__ import annotations

from collections.abc import Sequence

from launcher import units
from launcher.cli import commands
from launcher.runs import NodeStatus, RunState, RunStatus

_OVER = (RunState.QUEUED, RunState.DONE, RunState.SAVED, RunState.STOPPED, RunState.FAILED)


def text(
    status: RunStatus, jobs: Sequence[str] = (), advice: Sequence[tuple[str, str]] = ()
) -> str:
    """Return a few lines and a table of nodes. `advice` is about the jobs: name and sentence."""
    rows = [("run", f"{status.run_id}: {status.state}")]
    rows += [("job", job.removeprefix("job ")) for job in jobs]
    rows += advice
    if status.attempt:
        rows.append(("attempt", f"{status.attempt}, recipe {status.recipe}"))
    if status.restarted:
        why = f"why: `{commands.program()} why {status.run_id}`"
        rows.append(("restarted", f"{status.restarted} ({why})"))
    rows += _progress(status)
    if status.supervisor:
        alive = "alive" if status.supervisor_alive else "gone"
        rows.append(("supervisor", f"{status.supervisor}, {alive}"))
    if status.result:
        rows.append(
            (
                "result",
                ", ".join(f"{key} {units.value(each)}" for key, each in status.result.items()),
            )
        )
    if status.state is RunState.FAILED and status.attempt:
        rows.append(("why", f"root cause: `{commands.program()} why {status.run_id}`"))
    lines = [f"{name:<12}{value}" for name, value in rows]
    return "\n".join([*lines, *_nodes(status)])


def line(status: RunStatus, jobs: Sequence[str] = ()) -> str:
    """Return one line for a log."""
    parts = [*jobs, *(f"{name} {value}" for name, value in _progress(status))]
    return f"{status.run_id}: {status.state}  {'  '.join(parts)}".rstrip()


def _progress(status: RunStatus) -> list[tuple[str, str]]:
    if not status.step:
        return []
    total = f" of {status.total_steps}" if status.total_steps else ""
    parts = [f"{status.step}{total}"]
    if status.loss is not None:
        parts.append(f"loss {units.loss(status.loss)}")
    if status.state is RunState.RUNNING:
        if status.samples_per_s is not None:
            parts.append(f"{units.rate(status.samples_per_s)} samples/s")
        if status.eta_s is not None:
            parts.append(f"{units.clock(status.eta_s)} left")
    rows = [("step", ", ".join(parts))]
    if status.committed_step is not None:
        rows.append(("saved at", f"step {status.committed_step}"))
    return rows


def _nodes(status: RunStatus) -> list[str]:
    if not status.nodes:
        return []
    from launcher.cli.display import tables

    titles = ("node", "ranks", "state", "phase", "step", "last sign")
    table = tables.table(*titles, right=("ranks", "step"))
    for node in status.nodes:
        ranks = (
            str(node.ranks) if node.reporting == node.ranks else f"{node.reporting}/{node.ranks}"
        )
        sign = _sign(node, status.state)
        tables.add(table, node.node, ranks, node.state, node.phase, node.step, sign)
    return ["", tables.plain(table)]


def _sign(node: NodeStatus, state: RunState) -> str:
    """Return how long ago the node gave a sign of life, or when, if the run is over."""
    if node.heartbeat_at is None or node.heartbeat_age_s is None:
        return "never"
    if state in _OVER:
        return units.moment(node.heartbeat_at)
    return f"{units.duration(node.heartbeat_age_s)} ago"
