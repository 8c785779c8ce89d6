"""Stacks that faulthandler wrote into a rank's log, on request or at a crash."""

from __future__ import annotations

import re
from pathlib import Path

_HEAD = re.compile(r"^(Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):")
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
_WAITING = re.compile(
    r"distributed[/_]|all_reduce|all_gather|barrier|broadcast|reduce_scatter|torch/autograd/graph|"
    r"engines?[/_]|vote_result|nccl|gloo",
    re.IGNORECASE,
)
_OURS = re.compile(r"launcher/runtime/|<frozen runpy>|/runpy\.py|/multiprocessing/|/threading\.py")
_TAIL_BYTES = 256 * 1024


def last_stack(log: Path) -> list[str]:
    """Return the main thread's stack of the last dump in `log`, innermost frame first.

    faulthandler writes other threads first; the one that runs the program is the deepest that
    is not ours, in practice the last of a dump.
    """
    stacks: list[list[str]] = []
    inside = False
    for line in _tail(log):
        if _HEAD.match(line):
            stacks.append([])
            inside = True
        elif inside and _FRAME.match(line):
            stacks[-1].append(line)
        else:
            inside = False
    useful = [stack for stack in stacks if any(not _OURS.search(frame) for frame in stack)]
    return [line for line in useful[-1] if not _OURS.search(line)] if useful else []


def waits_for_others(stack: list[str]) -> bool:
    """Return whether the innermost frames are those of a collective: such a rank is no culprit."""
    return any(_WAITING.search(line) for line in stack[:4])


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
