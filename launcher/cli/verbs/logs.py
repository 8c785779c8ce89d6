"""`logs`: what the ranks printed."""

from __future__ import annotations

from launcher import runs
from launcher.cli import failure
from launcher.cli.arguments import Invocation
from launcher.cli.folders import run_folder
from launcher.errors import ConfigError
from launcher.runs import LogFile, RunState
from launcher.runs.logs import last_lines
from launcher.specs import RunLayout

_GOING_ON = (RunState.STAGING, RunState.STARTING, RunState.RUNNING, RunState.STOPPING)


def main(invocation: Invocation) -> int:
    """Print the chosen logs, with whose line it is when there are several."""
    layout = run_folder(invocation)
    following = invocation.has("follow")
    if not _choose(layout, invocation) and not following:
        _refuse_nothing(layout, invocation)
    tail = invocation.number("tail")
    if tail is not None and not following:
        return _print_tails(_choose(layout, invocation), tail)
    lines = runs.follow(
        lambda: _choose(layout, invocation),
        running=lambda: following and runs.read_status(layout).state in _GOING_ON,
    )
    for log, line in lines:
        prefix = log.prefix if _several(layout, invocation) else ""
        print(f"{prefix}{line}", flush=following)
    return 0


def _choose(layout: RunLayout, invocation: Invocation) -> list[LogFile]:
    return runs.log_files(
        layout,
        attempt=invocation.number("attempt") or 0,
        nodes=invocation.numbers("node"),
        ranks=invocation.numbers("rank"),
        agents=invocation.has("agents"),
    )


def _several(layout: RunLayout, invocation: Invocation) -> bool:
    """Asked of the whole attempt, so that a line does not change its face as ranks appear."""
    return len(invocation.numbers("rank")) != 1 and len(_choose(layout, invocation)) != 1


def _print_tails(logs: list[LogFile], count: int) -> int:
    for log in logs:
        for line in last_lines(log.path, count):
            print(f"{log.prefix if len(logs) > 1 else ''}{line}")
    return 0


def _refuse_nothing(layout: RunLayout, invocation: Invocation) -> None:
    everything = runs.log_files(layout, attempt=invocation.number("attempt") or 0)
    if not everything:
        failure.say(f"{layout.run_id} has no logs yet")
        return
    ranks = ", ".join(str(log.rank) for log in everything)
    raise ConfigError(f"no such log in {layout.run_id}", hint=f"it has those of the ranks {ranks}")
