"""``python -m launcher.runtime.guard -- program args``: what mpirun starts, once per rank.

The guard forks the rank and stays: light, without torch, it keeps the promises of
`docs/runtime.md` that MPI's own launchers break. They end everything the moment a process fails, so
a guard leaves only once the other ranks have told their own failures; they kill a rank without
saying how it ended, so a guard writes that down; and they take no grace period.
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
from launcher.runtime.wake import Wake
from launcher.runtime.watch import Patience, Watch
from launcher.specs import RankState

__all__ = ["main"]

_ENDED = (RankState.DONE, RankState.SAVED, RankState.FAILED)
_LAST_WORDS_S = 0.3
"""What ranks on other nodes get beyond their last record: it may still be on its way here."""


def main(argv: Sequence[str]) -> int:
    """Run one rank; return its exit code. Returns twice: in the guard and in the rank."""
    words = list(argv[1:]) if argv[:1] == ["--"] else list(argv)
    if not words:
        sys.stderr.write("usage: python -m launcher.runtime.guard -- program.py [args ...]\n")
        return 2
    wake = Wake()
    wake.install()
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
        wake.uninstall()
        return _be_rank(place, words)
    return _be_guard(child, launch, wake)


def _be_rank(place: RankEnviron, words: Sequence[str]) -> int:
    if os.environ.get("MASTER_ADDR"):
        # Scripts written for torchrun find what they expect.
        slots = slots_of(os.environ)
        before = sum(1 for count in slots[: place.node_rank] if count)
        groups = max(1, sum(1 for count in slots if count))
        os.environ.update(torchrun_variables(place, group_rank=before, groups=groups))
    code = shim.run(words[0], words[1:])
    shim.leave_without_finalize(code)
    return code


def _be_guard(child: Child, launch: LaunchEnviron, wake: Wake) -> int:
    logging.getLogger("launcher").setLevel(logging.WARNING)
    patience = Patience(grace_s=launch.grace_s)
    watch = Watch(
        [child],
        wake,
        patience,
        on_end=lambda each: complete_record(each, launch),
        parent_is_gone=lambda: False,  # then this process is gone, too
    )
    watch.until_all_ended()
    assert child.end is not None
    if not child.end.ok:
        _linger(patience.peers_s, wake, lambda: _all_have_ended(child.place.world_size, launch))
    return child.end.shell_code


def _linger(limit_s: float, wake: Wake, all_ended: Callable[[], bool]) -> None:
    """Let the other ranks fail by themselves: once we leave, mpirun ends them."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and not all_ended():
        wake.wait(0.1)


def _all_have_ended(world_size: int, launch: LaunchEnviron) -> bool:
    records = (read_record(rank, launch) for rank in range(world_size))
    now = time.time()
    return all(
        record is not None and record.state in _ENDED and record.heartbeat_at < now - _LAST_WORDS_S
        for record in records
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
