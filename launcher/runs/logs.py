"""The log files of an attempt: which there are, following them, and reading their ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.runs.records import newest_attempt
from launcher.specs import RunLayout

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """The log of a rank, or of the agent of a node if `rank` is None."""

    path: Path
    node_rank: int
    rank: int | None

    @property
    def prefix(self) -> str:
        """The start of each of its lines when several logs are shown together."""
        name = "agent" if self.rank is None else f"rank{self.rank:04d}"
        return f"[node{self.node_rank:02d} {name}] "


@dataclass
class Tail:
    """Reads complete lines from a growing file, which need not exist yet."""

    path: Path
    offset: int = 0
    _rest: bytes = field(default=b"")

    def lines(self, *, final: bool = False) -> list[str]:
        """Return the lines since the last call; with `final` also an incomplete last one."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                new = file.read(_CHUNK_BYTES)
        except OSError:
            new = b""
        self.offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        if final and self._rest:
            lines.append(self._rest)
            self._rest = b""
        # A progress bar rewrites its line with carriage returns: only the last version is shown.
        return [line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2] for line in lines]


def log_files(
    layout: RunLayout,
    *,
    attempt: int = 0,
    nodes: Sequence[int] = (),
    ranks: Sequence[int] = (),
    agents: bool = False,
) -> list[LogFile]:
    """Return the logs of `attempt` (0: the newest) in rank order.

    `nodes` and `ranks` select; empty means all. `agents` adds the logs of the agents.
    """
    number = attempt or newest_attempt(layout)
    logs = [_log_file(path) for path in sorted(layout.attempt(number).logs.glob("node*.log"))]
    return [
        log
        for log in logs
        if log is not None
        and (not nodes or log.node_rank in nodes)
        and (agents if log.rank is None else not ranks or log.rank in ranks)
    ]


def follow(
    choose: Callable[[], Sequence[LogFile]],
    *,
    running: Callable[[], bool],
    poll_s: float = 0.25,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[LogFile, str]]:
    """Yield every line of the chosen logs, old lines first, until `running` returns False.

    `choose` is called each time, so that new logs (of another attempt) are included.
    """
    tails: dict[Path, tuple[LogFile, Tail]] = {}
    while True:
        last = not running()  # before reading, so that nothing written meanwhile is missed
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
    return Tail(path, offset=max(0, size - _TAIL_BYTES)).lines(final=True)[-count:]


def _log_file(path: Path) -> LogFile | None:
    node, _, rank = path.stem.removeprefix("node").partition("-rank")
    if not node.isdigit() or (rank and not rank.isdigit()):
        return None
    return LogFile(path=path, node_rank=int(node), rank=int(rank) if rank else None)
