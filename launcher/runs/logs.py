"""The log files of an attempt: which there are, following them, and reading their ends."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher import units
from launcher.runs.records import newest_attempt
from launcher.specs import RunLayout

_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 64 * 1024
_LONGEST_LINE = 64 << 20
"""A longer line is returned in parts, so that output without newlines cannot fill the memory."""


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
    most_behind: int | None = None
    """A reader that is this many bytes behind skips the older half, and returns a line that says
    so; None reads everything."""
    _rest: bytearray = field(default_factory=bytearray)

    @classmethod
    def of_last(cls, path: Path, count: int) -> Tail:
        """Return a reader that starts at the last `count` lines of the file."""
        try:
            return cls(path, offset=_start_of_last(path, count))
        except OSError:
            return cls(path)

    def lines(self) -> list[str]:
        """Return lines since the last call, about 1 MiB of them at most."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                skipped = self._skip(size)
                file.seek(self.offset)
                new = file.read(_CHUNK_BYTES)
        except OSError:
            return []
        self.offset += len(new)
        if not skipped:
            return self._split(new)
        # The reader is now in the middle of a line.
        partial, newline, after = new.partition(b"\n")
        if newline:
            skipped, new = skipped + len(partial) + 1, after
        note = f"[{units.size(skipped)} of output omitted here; everything is in {self.path}]"
        return [note, *self._split(new)]

    def to_end(self) -> Iterator[list[str]]:
        """Yield all lines that the file has now, and its incomplete last line.

        A process may still write to the file. What comes later is not waited for.
        """
        try:
            size = self.path.stat().st_size
        except OSError:
            size = 0
        while self.offset < size:
            before = self.offset
            yield self.lines()
            if self.offset == before:
                break
        if self._rest:
            yield [self._take_rest()]

    def _skip(self, size: int) -> int:
        """Skip what is too old; return how many bytes."""
        behind = size - self.offset
        if not self.most_behind or behind <= self.most_behind:
            return 0
        skipped = behind - self.most_behind // 2
        self.offset += skipped
        skipped += len(self._rest)
        self._rest.clear()
        return skipped

    def _split(self, new: bytes) -> list[str]:
        first, *others = new.split(b"\n")
        self._add(first)
        if others:
            *whole, last = others
            lines = [self._take_rest(), *(_shown(line) for line in whole)]
            self._add(last)
        else:
            lines = []
        if len(self._rest) >= _LONGEST_LINE:
            lines.append(self._take_rest())
        return lines

    def _add(self, part: bytes) -> None:
        """Append to the incomplete line. Earlier versions of a progress bar are dropped."""
        old = max(0, len(self._rest) - 1)
        self._rest += part
        end = len(self._rest)
        while end > old and self._rest[end - 1] == _RETURN:
            end -= 1
        replaced = self._rest.rfind(b"\r", old, end)
        if replaced >= 0:
            del self._rest[: replaced + 1]

    def _take_rest(self) -> str:
        line = _shown(self._rest)
        self._rest = bytearray()
        return line


_RETURN = ord("\r")


def _shown(line: bytes | bytearray) -> str:
    """A progress bar rewrites its line with carriage returns: only the last version is shown."""
    return line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]


def _start_of_last(path: Path, count: int) -> int:
    """Return where the last `count` lines begin, without reading all of a large file."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        if count <= 0 or not position:
            return position
        file.seek(position - 1)
        missing = count + (file.read(1) == b"\n")
        while position:
            step = min(_BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            block = file.read(step)
            found = block.count(b"\n")
            if found >= missing:
                end = len(block)
                for _ in range(missing):
                    end = block.rindex(b"\n", 0, end)
                return position + end + 1
            missing -= found
    return 0


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
    tail: int | None = None,
    poll_s: float = 0.25,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[LogFile, str]]:
    """Yield every line of the chosen logs, old lines first, until `running` returns False.

    `choose` is called each time, so that new logs (of another attempt) are included. With `tail`,
    start at the last lines of those that exist now.
    """
    tails: dict[Path, tuple[LogFile, Tail]] = {}
    if tail is not None:
        tails = {log.path: (log, Tail.of_last(log.path, tail)) for log in choose()}
    while True:
        last = not running()  # before reading, so that nothing written meanwhile is missed
        for log in choose():
            tails.setdefault(log.path, (log, Tail(log.path)))
        quiet = True
        for log, reader in tails.values():
            for line in _new_lines(reader, last=last):
                quiet = False
                yield log, line
        if last:
            return
        if quiet:
            sleep(poll_s)


def _new_lines(reader: Tail, *, last: bool) -> Iterator[str]:
    for lines in reader.to_end() if last else [reader.lines()]:
        yield from lines


def last_lines(path: Path, count: int) -> list[str]:
    """Return up to `count` last lines of a log without colors, from its last 64 KiB."""
    reader = Tail(path)
    with contextlib.suppress(OSError):
        reader.offset = max(0, path.stat().st_size - _BLOCK_BYTES)
    return [units.uncolored(line) for lines in reader.to_end() for line in lines][-count:]


def _log_file(path: Path) -> LogFile | None:
    node, _, rank = path.stem.removeprefix("node").partition("-rank")
    if not node.isdigit() or (rank and not rank.isdigit()):
        return None
    return LogFile(path=path, node_rank=int(node), rank=int(rank) if rank else None)
