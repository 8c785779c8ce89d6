"""What the process of a rank has once: its place, log, status file, stop flag, step counter."""

from __future__ import annotations

import faulthandler
import io
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.status import RankStatus
from launcher.runtime.stop import StopFlag, protect_children
from launcher.specs import AttemptLayout, RankRecord, RankState, RunLayout

__all__ = ["RankProcess", "StepCounter", "begin", "current", "first_record"]


class StepCounter:
    """Counts the optimizer steps of a program that does not report its steps.

    It uses torch's process-wide hooks once the program has imported torch. It never imports torch:
    a program without torch must not pay for it.
    """

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self._on_step = on_step
        self._counts: dict[int, int] = {}
        self._open: set[int] = set()
        """Optimizers whose current step is not counted yet."""
        self._largest = 0
        self._enabled = True
        self._installed = False

    def install_if_possible(self) -> bool:
        """Register the hooks if torch is imported; return whether they are registered."""
        optimizer = sys.modules.get("torch.optim.optimizer")
        before = getattr(optimizer, "register_optimizer_step_pre_hook", None)
        after = getattr(optimizer, "register_optimizer_step_post_hook", None)
        if not self._installed and before is not None and after is not None:
            before(self._begin)
            after(self._count)
            self._installed = True
        return self._installed

    def disable(self) -> None:
        """Stop counting: the program reports its steps."""
        self._enabled = False

    def _begin(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._open.add(id(optimizer))

    def _count(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        # The step of a wrapper that inherits, such as Horovod's, contains the step of the wrapped
        # optimizer, and torch calls the hooks for both: they are one step.
        key = id(optimizer)
        if not self._enabled or key not in self._open:
            return
        self._open.discard(key)
        # Of several optimizers, as in a GAN, the one with the most steps counts.
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        if count > self._largest:
            self._largest = count
            self._on_step(count)


@dataclass(kw_only=True)
class RankProcess:
    """The parts of a rank that exist once per process."""

    place: RankEnviron
    launch: LaunchEnviron
    status: RankStatus
    stop: StopFlag
    steps: StepCounter
    layout: AttemptLayout | None
    """Where the files of this attempt are; None without a run folder."""


_current: RankProcess | None = None


def current() -> RankProcess | None:
    """Return the parts of this process, or None if no shim started it."""
    return _current


def begin(environ: Mapping[str, str], *, redirect_output: bool) -> RankProcess:
    """Make this process a rank: log file, stack dumps, status file, stop signals.

    Called once, in the main thread: by the shim, or by `runtime.init` in a program that was started
    without it.
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
    # A handler in C also runs while every thread hangs in C++; a Python handler does not.
    faulthandler.enable(file=sys.__stderr__ or 2, all_threads=True)
    faulthandler.register(signal.SIGUSR2, file=sys.__stderr__ or 2, all_threads=True, chain=False)


def _record_path(layout: AttemptLayout | None, place: RankEnviron) -> Path | None:
    if layout is None:
        return None
    layout.ranks.mkdir(parents=True, exist_ok=True)
    return layout.rank_record(place.rank)


def first_record(place: RankEnviron, launch: LaunchEnviron, pid: int) -> RankRecord:
    """Return the record of a rank that was just started as process `pid`."""
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


def redirect(path: Path) -> None:
    """Append stdout and stderr of this process, and of all that it starts, to `path`.

    This replaces file descriptors, not Python objects: output of C++ libraries and of child
    processes arrives in the same file, in the order in which it was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None:
            stream.flush()
        os.dup2(target, number)
        if isinstance(stream, io.TextIOWrapper):
            # Line by line, and without errors for characters that the locale cannot encode.
            stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")
    os.close(target)
