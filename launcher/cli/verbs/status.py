"""`status`: how a run stands, from its folder alone."""

from __future__ import annotations

import dataclasses
import json
import sys
import time

from launcher import runs
from launcher.cli import typed
from launcher.cli.arguments import Invocation
from launcher.cli.display import units
from launcher.cli.folders import run_folder
from launcher.runs import RunState, RunStatus
from launcher.specs import RunLayout

_ENDED = (RunState.DONE, RunState.SAVED, RunState.STOPPED, RunState.FAILED, RunState.LOST)
_EVERY_S = 1.0


def main(invocation: Invocation) -> int:
    """Print it once, or with `--follow` until the run has ended."""
    layout = run_folder(invocation)
    if invocation.has("json"):
        print(json.dumps(dataclasses.asdict(runs.read_status(layout)), indent=2))
        return 0
    if invocation.has("follow"):
        return _follow(layout)
    print(text(runs.read_status(layout)))
    return 0


def text(status: RunStatus) -> str:
    """Return a status as a few lines and a table."""
    rows = [("run", f"{status.run_id}: {status.state}")]
    if status.attempt:
        rows.append(("attempt", f"{status.attempt}, recipe {status.recipe}"))
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
    if status.state is RunState.FAILED:
        rows.append(("why", f"`{typed.program()} why {status.run_id}` tells what broke first"))
    lines = [f"{name:<12}{value}" for name, value in rows]
    return "\n".join([*lines, *_nodes(status)])


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
    lines = ["", f"{'node':<16}{'ranks':>7}  {'state':<10}{'phase':<10}{'step':>8}  last sign"]
    for node in status.nodes:
        ranks = (
            str(node.ranks) if node.reporting == node.ranks else f"{node.reporting}/{node.ranks}"
        )
        age = node.heartbeat_age_s
        sign = "never" if age is None else f"{units.duration(age)} ago"
        lines.append(
            f"{node.node:<16}{ranks:>7}  {node.state:<10}{node.phase:<10}{node.step:>8}  {sign}"
        )
    return lines


def _follow(layout: RunLayout) -> int:
    on_screen, last = 0, ""
    while True:
        status = runs.read_status(layout)
        drawn = text(status)
        if sys.stdout.isatty():
            # Back to where the last one began, and clear from there.
            print(f"\033[{on_screen}F\033[J{drawn}" if on_screen else drawn, flush=True)
            on_screen = drawn.count("\n") + 1
        else:
            line = "  ".join(f"{name} {value}" for name, value in _progress(status))
            line = f"{status.run_id}: {status.state}  {line}".rstrip()
            if line != last:
                print(line, flush=True)
            last = line
        if status.state in _ENDED:
            return 0
        time.sleep(_EVERY_S)
