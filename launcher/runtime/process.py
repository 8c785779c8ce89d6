"""What one rank's process has once: its place, its status file, its stop flag."""

from __future__ import annotations

import faulthandler
import io
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.status import RankStatus
from launcher.runtime.steps import StepCounter
from launcher.runtime.stop import StopFlag, protect_children
from launcher.specs import AttemptLayout, RankRecord, RankState, RunLayout

__all__ = ["RankProcess", "begin", "current", "first_record"]


@dataclass(kw_only=True)
class RankProcess:
    """The parts of a rank that exist once per process."""

    place: RankEnviron
    launch: LaunchEnviron
    status: RankStatus
    stop: StopFlag
    steps: StepCounter
    layout: AttemptLayout | None
    """Where this attempt's files go; None without a run folder."""


_current: RankProcess | None = None


def current() -> RankProcess | None:
    """Return this process's parts, or None when no shim has started it."""
    return _current


def begin(environ: Mapping[str, str], *, redirect_output: bool) -> RankProcess:
    """Make this process a rank: log file, stack dumps, status file, stop signals.

    Called once, in the main thread, by the shim, or by `runtime.init` in a program that was
    started without one.
    """
    global _current  # noqa: PLW0603 - one per process by nature
    place = RankEnviron.from_environ(environ)
    launch = LaunchEnviron.from_environ(environ)
    layout = RunLayout(launch.run_dir).attempt(launch.attempt) if launch.run_dir else None
    if layout and redirect_output:
        redirect(layout.rank_log(place.node_rank, place.rank))
    _dump_stacks_on_request()
    status = RankStatus(first_record(place, launch, os.getpid()), _record_path(layout, place))
    process = RankProcess(
        place=place,
        launch=launch,
        status=status,
        stop=StopFlag(),
        steps=StepCounter(status.count_step),
        layout=layout,
    )
    process.steps.install_if_possible()
    status.on_beat.append(process.steps.install_if_possible)
    status.start()
    process.stop.install()
    protect_children()
    _current = process
    return process


def _dump_stacks_on_request() -> None:
    # The C handler works while every thread hangs in C++, where no Python handler would run.
    faulthandler.enable(file=sys.__stderr__ or 2, all_threads=True)
    faulthandler.register(signal.SIGUSR2, file=sys.__stderr__ or 2, all_threads=True, chain=False)


def _record_path(layout: AttemptLayout | None, place: RankEnviron) -> Path | None:
    if layout is None:
        return None
    layout.ranks.mkdir(parents=True, exist_ok=True)
    return layout.rank_record(place.rank)


def first_record(place: RankEnviron, launch: LaunchEnviron, pid: int) -> RankRecord:
    """Return the record of a rank that has just been started as process `pid`."""
    now = time.time()
    host = socket.gethostname()
    return RankRecord(
        rank=place.rank,
        local_rank=place.local_rank,
        node_rank=place.node_rank,
        node=launch.node_name or host,
        host=host,
        pid=pid,
        attempt=launch.attempt,
        state=RankState.STARTING,
        started_at=now,
        heartbeat_at=now,
        progress_at=now,
    )


# Where a rank's output goes: its own log file, at the level of file descriptors.
def redirect(path: Path) -> None:
    """Send stdout and stderr of this process, and of all it starts, to the end of `path`.

    File descriptors are replaced, not Python objects, so that output of C++ libraries and of
    child processes arrives in the same file in the order in which it was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None:
            stream.flush()
        os.dup2(target, number)
        if isinstance(stream, io.TextIOWrapper):
            # Line by line, and never an error for a character the locale does not know.
            stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
    os.close(target)
