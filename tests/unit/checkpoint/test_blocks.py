"""Files in blocks with a digest each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from launcher.checkpoint.blocks import DamagedError, Segment, check_file, read_file, write_file
from launcher.checkpoint.files import PosixFiles
from launcher.checkpoint.layout import ShardFile

FILES = PosixFiles()
CONTENT = random.Random(1).randbytes(10_000)


@pytest.fixture
def entry(tmp_path: Path) -> ShardFile:
    parts = [memoryview(CONTENT)[:7], memoryview(CONTENT)[7:3000], memoryview(CONTENT)[3000:]]
    return write_file(FILES, tmp_path / "file", parts, block_bytes=1024)


def test_the_parts_are_one_file(tmp_path: Path, entry: ShardFile) -> None:
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert entry.size_bytes == 10_000
    assert len(entry.digests) == 10


def test_scattered_segments_are_read_into_place(tmp_path: Path, entry: ShardFile) -> None:
    places = [(0, 5), (5, 1500), (1600, 1), (2047, 2), (9_000, 1000), (4000, 0)]
    targets = [bytearray(length) for _, length in places]
    wanted = [
        Segment(at, memoryview(target)) for (at, _), target in zip(places, targets, strict=True)
    ]
    read_file(FILES, tmp_path / "file", entry, wanted[::-1])
    assert [bytes(target) for target in targets] == [CONTENT[at : at + n] for at, n in places]


def test_many_small_segments_are_read_in_several_calls(tmp_path: Path, entry: ShardFile) -> None:
    targets = [bytearray(1) for _ in range(1024)]
    wanted = [Segment(at, memoryview(target)) for at, target in enumerate(targets)]
    read_file(FILES, tmp_path / "file", entry, wanted)
    assert b"".join(targets) == CONTENT[:1024]


def test_damage_names_the_block(tmp_path: Path, entry: ShardFile) -> None:
    change(tmp_path / "file", 2500)
    with pytest.raises(DamagedError, match=r"file: block 2 \(bytes 2048 to 3072\)") as caught:
        read_file(FILES, tmp_path / "file", entry, [Segment(2048, memoryview(bytearray(10)))])
    assert caught.value.block == 2


def test_blocks_that_nobody_wants_are_not_read(tmp_path: Path, entry: ShardFile) -> None:
    change(tmp_path / "file", 2500)
    start = bytearray(2048)
    read_file(FILES, tmp_path / "file", entry, [Segment(0, memoryview(start))])
    assert start == CONTENT[:2048]


def test_checking_finds_every_bad_block(tmp_path: Path, entry: ShardFile) -> None:
    for at in (0, 2500, 9_999):
        change(tmp_path / "file", at)
    assert [error.block for error in check_file(FILES, tmp_path / "file", entry)] == [0, 2, 9]


def test_a_short_file_is_said_to_be_short(tmp_path: Path, entry: ShardFile) -> None:
    with (tmp_path / "file").open("r+b") as file:
        file.truncate(9_500)
    (error,) = check_file(FILES, tmp_path / "file", entry)
    assert "cut short after 284 bytes" in error.problem


def test_an_existing_file_is_never_written_over(tmp_path: Path, entry: ShardFile) -> None:
    with pytest.raises(FileExistsError):
        write_file(FILES, tmp_path / entry.name, [memoryview(b"other")])
    assert (tmp_path / "file").read_bytes() == CONTENT


def change(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 4]))
