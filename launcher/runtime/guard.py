"""``python -m launcher.runtime.guard -- program args``: what mpirun starts, once per rank.

The guard forks the rank and stays, without torch, to keep the promises of `docs/runtime.md` that
MPI launchers break. They end everything when the first process fails, so a guard exits only after
the other ranks have reported their own failures. They kill a rank without recording how it ended,
so a guard records it. And they know no grace period.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence

from launcher.errors import LauncherError
from launcher.runtime import shim
from launcher.runtime.children import Child, die_with, fork_rank
from launcher.runtime.environ import (
    LaunchEnviron,
    RankEnviron,
    node_variables,
    slots_of,
    torchrun_variables,
)
from launcher.runtime.exit_records import complete_record, read_record
from launcher.runtime.monitor import AgentSignals, RankMonitor, Timeouts
from launcher.specs import RankState

__all__ = ["main"]

_ENDED = (RankState.DONE, RankState.SAVED, RankState.FAILED)
_SETTLED_S = 0.3
"""Age of the last record at which no other record can still be on its way from another node."""


def main(argv: Sequence[str]) -> int:
    """Run one rank; return its exit code. Returns twice: in the guard and in the rank."""
    words = list(argv[1:]) if argv[:1] == ["--"] else list(argv)
    if not words:
        sys.stderr.write("usage: python -m launcher.runtime.guard -- program.py [args ...]\n")
        return 2
    signals = AgentSignals()
    signals.install()
    die_with(os.getppid())
    try:
        place = RankEnviron.from_environ(os.environ)
        os.environ.update(node_variables(os.environ, place.node_rank))
        launch = LaunchEnviron.from_environ(os.environ)
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    child = fork_rank(place)
    if child is None:
        signals.uninstall()
        return _be_rank(place, words)
    return _be_guard(child, launch, signals)


def _be_rank(place: RankEnviron, words: Sequence[str]) -> int:
    if os.environ.get("MASTER_ADDR"):
        # Scripts that were written for torchrun find its variables.
        slots = slots_of(os.environ)
        before = sum(1 for count in slots[: place.node_rank] if count)
        groups = max(1, sum(1 for count in slots if count))
        os.environ.update(torchrun_variables(place, group_rank=before, groups=groups))
    code = shim.run(words[0], words[1:])
    shim.exit_without_finalize(code)
    return code


def _be_guard(child: Child, launch: LaunchEnviron, signals: AgentSignals) -> int:
    logging.getLogger("launcher").setLevel(logging.WARNING)
    timeouts = Timeouts(grace_s=launch.grace_s)
    RankMonitor(
        [child],
        signals,
        timeouts,
        on_end=lambda each: complete_record(each, launch),
        parent_is_gone=lambda: False,  # the guard dies with its parent
    ).wait()
    if child.returncode != 0:
        world_size = child.place.world_size
        _wait_until(lambda: _all_have_ended(world_size, launch), timeouts.peers_s, signals)
    return child.shell_code


def _wait_until(condition: Callable[[], bool], limit_s: float, signals: AgentSignals) -> None:
    """Give the other ranks time to fail by themselves: mpirun ends them when this guard exits."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and not condition():
        signals.wait(0.1)


def _all_have_ended(world_size: int, launch: LaunchEnviron) -> bool:
    records = (read_record(rank, launch) for rank in range(world_size))
    now = time.time()
    return all(
        record is not None and record.state in _ENDED and record.heartbeat_at < now - _SETTLED_S
        for record in records
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))  # `sys.exit` may be one of the program
