"""Files in blocks with a digest each: written and read in one pass over the bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from launcher.checkpoint.files import Files, Reader
from launcher.checkpoint.layout import BLOCK_BYTES, DIGEST, ShardFile


class DamagedError(Exception):
    """Bytes on storage are not those that were written.

    Callers turn it into a finding or a fallback.
    """

    def __init__(self, file: str, problem: str, *, block: int | None = None) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem
        self.block = block


@dataclass(frozen=True)
class Segment:
    """Bytes of a file that are wanted in a certain place of memory."""

    offset: int
    target: memoryview

    @property
    def stop(self) -> int:
        return self.offset + self.target.nbytes


def write_file(
    files: Files, path: Path, parts: Sequence[memoryview], *, block_bytes: int = BLOCK_BYTES
) -> ShardFile:
    """Write a new file durably from `parts` and return its size and digests."""
    digests = []
    sink = files.create(path)
    try:
        for block in _cut(parts, block_bytes):
            state = xxhash.xxh3_128()
            for part in block:
                state.update(part)
            digests.append(state.hexdigest())
            sink.write(block)
    except BaseException:
        sink.abandon()
        raise
    sink.close()
    return ShardFile(
        name=path.name,
        size_bytes=sum(part.nbytes for part in parts),
        digests=tuple(digests),
        block_bytes=block_bytes,
    )


def read_file(files: Files, path: Path, entry: ShardFile, wanted: Sequence[Segment]) -> None:
    """Read the wanted segments straight into their places; every block that is touched is checked.

    Raises:
        DamagedError: a block is not what was written, or the file is too short.
        OSError: the file cannot be read.
    """
    ordered = sorted((part for part in wanted if part.target.nbytes), key=lambda part: part.offset)
    source = files.open(path)
    try:
        scratch = memoryview(bytearray(min(entry.block_bytes, entry.size_bytes)))
        first = 0
        for index, expected in enumerate(entry.digests):
            start = index * entry.block_bytes
            stop = min(start + entry.block_bytes, entry.size_bytes)
            while first < len(ordered) and ordered[first].stop <= start:
                first += 1
            inside = _inside(ordered, first, stop)
            if inside:
                parts = _parts(inside, start, stop, scratch)
                _read_block(source, entry, index, parts, expected)
    finally:
        source.close()


def check_file(files: Files, path: Path, entry: ShardFile) -> list[DamagedError]:
    """Read the whole file and return every block that is not what was written."""
    found = []
    scratch = memoryview(bytearray(min(entry.block_bytes, entry.size_bytes)))
    source = files.open(path)
    try:
        for index, expected in enumerate(entry.digests):
            start = index * entry.block_bytes
            length = min(entry.block_bytes, entry.size_bytes - start)
            try:
                _read_block(source, entry, index, [scratch[:length]], expected)
            except DamagedError as error:
                found.append(error)
    finally:
        source.close()
    return found


def _read_block(
    source: Reader, entry: ShardFile, index: int, parts: Sequence[memoryview], expected: str
) -> None:
    if entry.algorithm != DIGEST:
        raise DamagedError(entry.name, f"unknown digest `{entry.algorithm}`", block=index)
    want = sum(part.nbytes for part in parts)
    start = index * entry.block_bytes
    where = f"block {index} (bytes {start} to {start + want})"
    got = source.read_into(start, parts)
    if got != want:
        raise DamagedError(entry.name, f"{where} is cut short after {got} bytes", block=index)
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    if state.hexdigest() != expected:
        raise DamagedError(entry.name, f"{where} does not match its digest", block=index)


def _inside(ordered: Sequence[Segment], first: int, stop: int) -> list[Segment]:
    found = []
    for segment in ordered[first:]:
        if segment.offset >= stop:
            break
        found.append(segment)
    return found


def _parts(
    segments: Sequence[Segment], start: int, stop: int, scratch: memoryview
) -> list[memoryview]:
    """Return where the bytes `start` ..

    `stop` of the file go; what nobody wants goes to the scratch buffer.
    """
    parts, position = [], start
    for segment in segments:
        begin, end = max(segment.offset, start), min(segment.stop, stop)
        if position < begin:
            parts.append(scratch[position - start : begin - start])
        parts.append(segment.target[begin - segment.offset : end - segment.offset])
        position = end
    if position < stop:
        parts.append(scratch[position - start : stop - start])
    return parts


def _cut(parts: Sequence[memoryview], block_bytes: int) -> Iterator[list[memoryview]]:
    block: list[memoryview] = []
    room = block_bytes
    for whole in parts:
        part = whole
        while part.nbytes:
            block.append(part[:room])
            part = part[room:]
            room -= block[-1].nbytes
            if room == 0:
                yield block
                block, room = [], block_bytes
    if block:
        yield block
