"""The log files of an attempt: where they are, and following them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.files import replace
from launcher.runs.files import read_lines
from launcher.runs.records import attempts, newest_attempt
from launcher.specs import RunLayout

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """One log: a rank's, or for `rank` None that of a node's agent."""

    path: Path
    node_rank: int
    rank: int | None

    @property
    def prefix(self) -> str:
        """What stands before each of its lines when several are shown together."""
        who = "agent" if self.rank is None else f"rank{self.rank:04d}"
        return f"[node{self.node_rank:02d} {who}] "


@dataclass
class Tail:
    """Reads whole lines off the end of a growing file; the file need not exist yet."""

    path: Path
    offset: int = 0
    _rest: bytes = field(default=b"")

    def lines(self, *, final: bool = False) -> list[str]:
        """Return the lines that came since the last call; `final` also gives an unfinished one."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                new = file.read(_CHUNK_BYTES)
        except OSError:
            new = b""
        self.offset += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        if final and self._rest:
            whole.append(self._rest)
            self._rest = b""
        # A progress bar rewrites its line with carriage returns: what a person would see is the end
        return [line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2] for line in whole]


def log_files(
    layout: RunLayout,
    *,
    attempt: int = 0,
    nodes: Sequence[int] = (),
    ranks: Sequence[int] = (),
    agents: bool = False,
) -> list[LogFile]:
    """Return the logs that exist of `attempt` (0: the newest), ranks in order.

    `nodes` and `ranks` select; empty means all. Logs of the agents come only when asked for.
    """
    number = attempt or newest_attempt(layout)
    found = [_parse(path) for path in sorted(layout.attempt(number).logs.glob("node*.log"))]
    return [
        log
        for log in found
        if log is not None
        and (not nodes or log.node_rank in nodes)
        and ((log.rank is None and agents) or (log.rank is not None and _among(log.rank, ranks)))
    ]


def follow(
    choose: Callable[[], Sequence[LogFile]],
    *,
    going_on: Callable[[], bool],
    poll_s: float = 0.25,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[LogFile, str]]:
    """Yield every line of the chosen logs, those already there first, until `going_on` says no.

    `choose` is asked again each time, so that logs which appear later (another attempt) join in.
    """
    tails: dict[Path, tuple[LogFile, Tail]] = {}
    while True:
        last = not going_on()  # asked before reading, so that nothing written meanwhile is missed
        for log in choose():
            tails.setdefault(log.path, (log, Tail(log.path)))
        quiet = True
        for log, tail in tails.values():
            for line in tail.lines(final=last):
                quiet = False
                yield log, line
        if quiet and last:
            return
        if quiet:
            sleep(poll_s)


def last_lines(path: Path, count: int) -> list[str]:
    """Return up to `count` last lines of a log, without reading all of a large one."""
    try:
        size = path.stat().st_size
    except OSError:
        return []
    return Tail(path, offset=max(0, size - 64 * 1024)).lines(final=True)[-count:]


def _among(rank: int, ranks: Sequence[int]) -> bool:
    return not ranks or rank in ranks


def _parse(path: Path) -> LogFile | None:
    node, _, rank = path.stem.removeprefix("node").partition("-rank")
    if not node.isdigit() or (rank and not rank.isdigit()):
        return None
    return LogFile(path=path, node_rank=int(node), rank=int(rank) if rank else None)


# The history of a run's numbers, put together from what each attempt wrote.
def history(layout: RunLayout) -> list[dict[str, Any]]:
    """Return all lines that count, in order of steps; each says which `attempt` it is from."""
    kept: dict[tuple[int, bool], dict[str, Any]] = {}
    for number in attempts(layout):
        for line in read_lines(layout.attempt(number).metrics):
            if isinstance(line.get("step"), int):
                kept[line["step"], "eval" in line] = {**line, "attempt": number}
    return [kept[key] for key in sorted(kept)]


def steps(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the training steps among `lines`."""
    return [line for line in lines if "eval" not in line]


def evaluations(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the evaluations among `lines`."""
    return [line for line in lines if "eval" in line]


def lost_seconds(layout: RunLayout) -> float:
    """Return how long training took that had to be done again by a later attempt."""
    newest: dict[int, int] = {}
    times: dict[tuple[int, int], float] = {}
    for number in attempts(layout):
        for line in steps(read_lines(layout.attempt(number).metrics)):
            step, seconds = line.get("step"), line.get("step_time_s")
            if isinstance(step, int) and isinstance(seconds, int | float):
                newest[step] = number
                times[number, step] = float(seconds)
    return sum(seconds for (number, step), seconds in times.items() if number < newest[step])


def merge(layout: RunLayout) -> None:
    """Write the run's `metrics.jsonl` anew from those of its attempts. Supervisor only."""
    lines = "".join(json.dumps(line) + "\n" for line in history(layout))
    replace(layout.metrics, lines)
