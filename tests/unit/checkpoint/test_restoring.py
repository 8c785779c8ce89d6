"""Damage on storage: always noticed, never loaded, the commit before taken instead."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.checkpoint import Checkpointer, SingleProcess, list_commits, verify
from launcher.errors import CheckpointError

ALONE = SingleProcess()


def files_of(folder: Path, step: int) -> list[Path]:
    (info,) = [info for info in list_commits(folder) if info.step == step]
    assert info.data is not None
    return [info.path, *sorted(info.data.iterdir())]


def restore(folder: Path, program: Any) -> Any:
    return Checkpointer(folder, group=ALONE, generation=1).restore(program.state)


def test_any_single_changed_bit_is_noticed_and_the_commit_before_is_taken(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    images = saved(2)
    program = training(seed=3)
    rng = random.Random(0)
    paths = files_of(folder, 2)
    for trial in range(90):
        path = paths[trial % len(paths)]
        whole = path.read_bytes()
        at = rng.randrange(8 * len(whole))
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        assert verify(folder, 2), f"bit {at} of {path.name}"
        found = restore(folder, program)
        assert found.step == 1, f"bit {at} of {path.name}"
        assert program.image() == images[1]
        path.write_bytes(whole)
    assert restore(folder, program).step == 2
    assert program.image() == images[2]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a hole of zeros": lambda path: path.write_bytes(
        path.read_bytes()[:500] + bytes(400) + path.read_bytes()[900:]
    ),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["commit", "manifest", "shard"])
def test_the_commit_before_is_taken(
    folder: Path, saved: Callable[..., Any], training: Any, kind: str, which: int
) -> None:
    images = saved(2)
    DAMAGE[kind](files_of(folder, 2)[which])
    program = training(seed=3)
    found = restore(folder, program)
    assert found.step == 1
    assert program.image() == images[1]


def test_a_shard_of_another_step_is_noticed(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    """The file is whole and of the right size; only its content is not that of this commit."""
    saved(3)
    files_of(folder, 3)[2].write_bytes(files_of(folder, 2)[2].read_bytes())
    found = restore(folder, training())
    assert found.step == 2
    assert "step 3 is damaged" in found.note


def test_the_data_of_another_step_is_noticed_though_it_is_whole_in_itself(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(3)
    for to, source in zip(files_of(folder, 3)[1:], files_of(folder, 2)[1:], strict=True):
        to.write_bytes(source.read_bytes())
    assert restore(folder, training()).step == 2


def test_what_is_damaged_is_said(
    folder: Path, saved: Callable[..., Any], training: Any, caplog: pytest.LogCaptureFixture
) -> None:
    saved(2)
    shard = files_of(folder, 2)[2]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    restore(folder, training())
    assert f"data/{shard.parent.name}/s000.safetensors: block 0" in caplog.text


def test_commits_of_which_none_can_be_read_are_an_error(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(2)
    for step in (1, 2):
        files_of(folder, step)[2].unlink()
    with pytest.raises(CheckpointError, match="none can be read") as caught:
        restore(folder, training())
    assert "step 1" in caught.value.context
    assert "step 2" in caught.value.context
    assert "resume=never" in caught.value.hint


def test_a_named_step_that_is_damaged_is_an_error(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(2)
    files_of(folder, 2)[2].unlink()
    with pytest.raises(CheckpointError, match="none can be read"):
        Checkpointer(folder, group=ALONE).restore(training().state, resume="2")


def test_all_commit_records_damaged_is_an_error(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(2)
    for path in (folder / "commits").iterdir():
        path.write_text("{}")
    with pytest.raises(CheckpointError, match="none can be read"):
        restore(folder, training())


def test_a_newer_format_is_not_read_as_an_older_one(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    from dataclasses import replace

    from launcher.checkpoint.checksummed import decode_record, encode_record
    from launcher.checkpoint.layout import CommitRecord

    saved(2)
    path = files_of(folder, 2)[0]
    path.write_bytes(
        encode_record(replace(decode_record(CommitRecord, path.read_bytes()), schema=2))
    )
    assert "written in format 2" in list_commits(folder)[1].problem
    assert restore(folder, training()).step == 1


class Sharded(SingleProcess):
    """A program that cuts every batch into so many parts, or into one for each rank."""

    def __init__(self, logical_shards: int | None) -> None:
        self.logical_shards = logical_shards


def test_another_number_of_logical_shards_is_refused(folder: Path, training: Any) -> None:
    """The losses would be those of neither; without the mode the state alone counts."""
    program = training()
    with Checkpointer(folder, group=Sharded(8), generation=1) as saver:
        program.step()
        saver.save(program.state)
    for generation, group in ((2, Sharded(8)), (3, Sharded(None)), (4, ALONE)):
        found = Checkpointer(folder, group=group, generation=generation).restore(program.state)
        assert found is not None
        assert found.step == 1
    with pytest.raises(CheckpointError, match="made with logical_shards=8") as caught:
        Checkpointer(folder, group=Sharded(4), generation=5).restore(program.state)
    assert "go on with logical_shards=8" in caught.value.hint
