"""Running the programs of staging: their output line by line, and a stop that ends them."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from launcher import units
from launcher.specs.secrets import redact
from launcher.storage import Stopped

__all__ = ["ChildOutput", "run_child"]

_TAIL_LINES = 20
_LONGEST_LINE = 2000
_GRACE_S = 5.0
_POLL_S = 0.1


@dataclass(frozen=True)
class ChildOutput:
    """Exit code and last lines of a program."""

    exit_code: int
    tail: str
    """The last lines of its output, without secrets."""


def run_child(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stop: threading.Event,
    line: Callable[[str], bool],
    idle: Callable[[], None] = lambda: None,
) -> ChildOutput:
    """Run `argv` to its end, in its own session, so that Ctrl-C does not reach it directly.

    Args:
        argv: the program and its arguments.
        cwd: its working directory.
        env: variables added to the inherited environment.
        stop: if set, the program and its children are ended.
        line: called with every line of output. If it returns False, the line belongs to the tail.
        idle: called about every 100 ms.

    Raises:
        Stopped: `stop` was set.
    """
    with subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            tail = _listen(process, stop, line, idle)
        except BaseException:
            _end(process)
            raise
        return ChildOutput(process.wait(), "\n".join(tail))


def _listen(
    process: subprocess.Popen[str],
    stop: threading.Event,
    line: Callable[[str], bool],
    idle: Callable[[], None],
) -> deque[str]:
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    while True:
        if stop.is_set():
            raise Stopped
        idle()
        try:
            text = lines.get(timeout=_POLL_S)
        except queue.Empty:
            if process.poll() is None:
                continue
            # it ended, but a grandchild may keep the pipe open: read only what is in it
            while not lines.empty():
                _hear(lines.get_nowait(), line, tail)
            return tail
        if text is None:
            return tail
        _hear(text, line, tail)


def _hear(text: str | None, line: Callable[[str], bool], tail: deque[str]) -> None:
    if text is not None and not line(text):
        tail.append(redact(units.uncolored(text[:_LONGEST_LINE])))


def _pump(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    try:
        for text in stream:
            lines.put(text.rstrip("\n"))
    except ValueError:
        pass  # the pipe was closed because the program was stopped
    finally:
        lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    # the leader of the session is not reaped yet, so its id cannot belong to another process
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                continue
