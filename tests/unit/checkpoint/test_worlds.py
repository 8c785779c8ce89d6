"""Several ranks, as real processes: some of them dead, stopped or out of step."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher import checkpoint
from launcher.checkpoint import (
    Checkpointer,
    SingleProcess,
    claim_generation,
    list_commits,
    verify,
)
from launcher.checkpoint.files import PosixFiles, Writer
from launcher.checkpoint.layout import CheckpointLayout
from launcher.checkpoint.verification import open_commit
from launcher.errors import CheckpointError

pytestmark = pytest.mark.process


def hop(group: Any, folder: Path, training: Any, resume: str) -> dict[str, Any]:
    """Restore, take a step as replicas do (each has the same gradients), save."""
    program = training(seed=group.rank)  # replicas start apart on purpose: restoring must join them
    ck = Checkpointer(folder, group=group, timeout_s=20)
    found = ck.restore(program.state, resume=resume)
    loaded = program.image()
    torch.manual_seed(program.state.step)  # dropout alike on all ranks, so that they stay replicas
    program.step()
    ck.save(program.state)
    ck.close()
    return {"found": found, "loaded": loaded, "saved": program.image(), "step": ck.committed_step}


def test_from_1_to_2_to_4_to_3_ranks_every_byte_comes_back(
    folder: Path, training: Any, ranks: Any
) -> None:
    resume, before = "never", None
    for world_size in (1, 2, 4, 3):
        answers = ranks(world_size, hop, folder, training, resume)
        for answer in answers:
            if before is not None:
                assert answer["loaded"] == before["saved"]
                assert answer["found"].exact is False
                assert "random states are derived anew" in answer["found"].note
            assert answer["saved"] == answers[0]["saved"]
            assert answer["step"] == answers[0]["saved"]["step"]
        resume, before = "required", answers[0]
    assert [info.world_size for info in list_commits(folder)] == [4, 3]
    assert verify(folder) == []


def test_every_byte_is_written_by_one_rank_only(folder: Path, training: Any, ranks: Any) -> None:
    ranks(3, hop, folder, training, "never")
    (info,) = list_commits(folder)
    opened = open_commit(PosixFiles(), CheckpointLayout(folder), info.key)
    replicated = [entry for entry in opened.tensors if not entry.name.startswith("rng/")]
    program = training()
    program.step()
    state = checkpoint.TrainingState(model=program.model, optimizer=program.optimizer)
    alone = folder.with_name("alone")
    with Checkpointer(alone, group=SingleProcess()) as ck:
        state.extra = program.state.extra
        state.step = 1
        ck.save(state)
    whole = open_commit(PosixFiles(), CheckpointLayout(alone), list_commits(alone)[0].key)
    assert sum(entry.size_bytes for entry in replicated) == sum(
        entry.size_bytes for entry in whole.tensors if not entry.name.startswith("rng/")
    )
    by_rank = [
        sum(entry.size_bytes for entry in replicated if entry.file == file.name)
        for file in opened.files.values()
    ]
    assert max(by_rank) - min(by_rank) <= 4096


def random_numbers(group: Any, folder: Path, training: Any, resume: str) -> tuple[Any, Any]:
    program = training()
    torch.manual_seed(100 + group.rank)
    ck = Checkpointer(folder, group=group)
    found = ck.restore(program.state, resume=resume)
    if found is None:
        program.step()
        ck.save(program.state)
    ck.close()
    return found, torch.rand(3).tolist()


def test_every_rank_gets_its_own_random_state_back(folder: Path, training: Any, ranks: Any) -> None:
    before = ranks(2, random_numbers, folder, training, "auto")
    after = ranks(2, random_numbers, folder, training, "required")
    assert [numbers for _, numbers in before] == [numbers for _, numbers in after]
    assert before[0][1] != before[1][1]
    assert all(found.exact for found, _ in after)


def test_with_another_world_random_states_are_new_but_reproducible(
    folder: Path, training: Any, ranks: Any
) -> None:
    ranks(2, random_numbers, folder, training, "auto")
    once = ranks(3, random_numbers, folder, training, "required")
    again = ranks(3, random_numbers, folder, training, "required")
    assert [numbers for _, numbers in once] == [numbers for _, numbers in again]
    assert len({tuple(numbers) for _, numbers in once}) == 3


def saves_but(group: Any, folder: Path, training: Any, absent: int, how: str) -> Any:
    program = training()
    ck = Checkpointer(folder, group=group, timeout_s=1.5)
    ck.restore(program.state, resume="never")
    program.step()
    if group.rank == absent:
        if how == "dead":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        return "absent"
    ck.save(program.state)
    try:
        ck.wait()
    except CheckpointError as error:
        return error.message
    return "saved"


@pytest.mark.parametrize("how", ["dead", "stopped", "out of step"])
def test_a_rank_that_does_not_come_costs_a_bounded_time_and_is_named(
    folder: Path, training: Any, ranks: Any, how: str
) -> None:
    processes, answers = ranks.start(3, saves_but, folder, training, 2, how)
    try:
        for process in processes[:2]:
            process.join(60)
    finally:
        processes[2].kill()
        processes[2].join()
    for message in answers()[:2]:
        assert "nothing came from rank 2 for 1.5 s" in message
    assert list_commits(folder) == []


def test_when_the_coordinator_dies_the_others_do_not_wait_for_ever(
    folder: Path, training: Any, ranks: Any
) -> None:
    processes, answers = ranks.start(2, saves_but, folder, training, 0, "dead")
    for process in processes:
        process.join(60)
    assert "rank 0 neither commits it nor gives it up" in answers()[1]


class FullForRank(PosixFiles):
    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.met = threading.Event()

    def create(self, path: Path) -> Writer:
        if path.name == f"s{self.rank:03d}.safetensors":
            self.met.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create(path)


def save_on_a_full_disk(group: Any, folder: Path, training: Any, full: int) -> Any:
    program = training()
    files = FullForRank(full)
    ck = Checkpointer(folder, group=group, files=files, timeout_s=20)
    ck.restore(program.state, resume="never")
    program.step()
    ck.save(program.state)
    if group.rank == full:
        assert files.met.wait(30)
    files.rank = -1  # somebody made room
    program.step()
    try:
        ck.save(program.state)
        first = "no error"
    except CheckpointError as error:
        first = error.message
    ck.save(program.state)
    ck.close()
    return first, ck.committed_step


@pytest.mark.parametrize("full", [0, 1])
def test_a_full_disk_on_one_rank_is_told_to_all_and_the_next_save_works(
    folder: Path, training: Any, ranks: Any, full: int
) -> None:
    for message, committed in ranks(2, save_on_a_full_disk, folder, training, full):
        assert message.startswith("disk full: the checkpoint of step 1 needs")
        assert committed == 2
    assert [info.step for info in list_commits(folder)] == [2]
    assert len(list((folder / "data").iterdir())) == 1
    assert verify(folder) == []


def saves_own_view(group: Any, folder: Path, training: Any) -> Any:
    program = training()
    ck = Checkpointer(folder, group=group, timeout_s=20)
    program.step()
    program.state.scalars["best"] = 0.5 + group.rank
    ck.save(program.state)
    try:
        ck.wait()
    except CheckpointError as error:
        return error.message
    return "saved"


def test_ranks_with_different_logical_state_are_not_saved(
    folder: Path, training: Any, ranks: Any
) -> None:
    for message in ranks(2, saves_own_view, folder, training):
        assert "rank 1 differs from rank 0 in `scalars`" in message
    assert list_commits(folder) == []


class BadEyes(PosixFiles):
    """One node reads garbage where the others read what was written."""

    def open(self, path: Path) -> Any:
        if path.name == "s001.safetensors" and path.parent.name.startswith("000001-00000002"):
            raise OSError(errno.EIO, "Input/output error")
        return super().open(path)


def two_saves(group: Any, folder: Path, training: Any) -> Any:
    program = training()
    ck = Checkpointer(folder, group=group, generation=1)
    images = []
    for _ in range(2):
        torch.manual_seed(0)
        program.step()
        ck.save(program.state)
        images.append(program.image())
    ck.close()
    return images


def restore_with_bad_eyes(group: Any, folder: Path, training: Any) -> Any:
    program = training(seed=5)
    files = BadEyes() if group.rank == 1 else PosixFiles()
    found = Checkpointer(folder, group=group, generation=1, files=files).restore(program.state)
    return found, program.image()


def test_when_one_rank_cannot_read_all_fall_back_together(
    folder: Path, training: Any, ranks: Any
) -> None:
    images = ranks(2, two_saves, folder, training)[0]
    for found, image in ranks(2, restore_with_bad_eyes, folder, training):
        assert found.step == 1
        assert "step 2 is damaged" in found.note
        assert image == images[0]


def restore_or_error(group: Any, folder: Path, training: Any, width: int) -> Any:
    try:
        Checkpointer(folder, group=group).restore(training(width=width).state, resume="auto")
    except CheckpointError as error:
        return error
    return None


def test_every_rank_raises_the_same_error(folder: Path, training: Any, ranks: Any) -> None:
    ranks(2, two_saves, folder, training)
    answers = ranks(2, restore_or_error, folder, training, 30)
    assert len({answer.message for answer in answers}) == 1
    for path in (folder / "data").glob("*/s001.safetensors"):
        path.unlink()
    answers = ranks(2, restore_or_error, folder, training, 24)
    assert [answer.message for answer in answers] == ["checkpoints exist, but none can be read"] * 2


def over_gloo(group: Any, folder: Path, training: Any, rendezvous: str) -> Any:
    import torch.distributed as dist

    class Gloo:
        name = "torch"
        rank, world_size = group.rank, group.world_size

        def all_gather_object(self, obj: Any) -> list[Any]:
            found: list[Any] = [None] * self.world_size
            dist.all_gather_object(found, obj)
            return found

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(rendezvous, group.world_size)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=group.rank, world_size=group.world_size)
    program = training()
    program.state.model = torch.nn.parallel.DistributedDataParallel(program.model)
    ck = Checkpointer(folder, group=Gloo())
    found = ck.restore(program.state)
    program.step()
    ck.save(program.state)
    program.step()
    ck.close()
    image = program.image()
    dist.destroy_process_group()
    return found, image["step"]


def test_the_names_of_a_ddp_model_are_those_of_the_plain_one(
    folder: Path, training: Any, ranks: Any, tmp_path: Path
) -> None:
    first = ranks(2, over_gloo, folder, training, str(tmp_path / "first"))
    assert [found for found, _ in first] == [None, None]
    second = ranks(2, over_gloo, folder, training, str(tmp_path / "second"))
    assert [found.step for found, _ in second] == [1, 1]
    alone = training()
    found = Checkpointer(folder, group=SingleProcess()).restore(alone.state)
    assert found is not None
    assert found.step == 2
    assert list_commits(folder)[-1].engine == "torch"


class Killer(PosixFiles):
    """Kills its own process at the n-th operation that changes anything."""

    def __init__(self, at: int) -> None:
        self.left = at

    def tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def create(self, path: Path) -> Writer:
        self.tick()
        return super().create(path)

    def publish(self, temporary: Path, path: Path) -> None:
        self.tick()
        super().publish(temporary, path)
        self.tick()

    def remove(self, path: Path) -> None:
        self.tick()
        super().remove(path)

    def remove_folder(self, path: Path) -> None:
        self.tick()
        super().remove_folder(path)

    def sync_folder(self, path: Path) -> None:
        self.tick()
        super().sync_folder(path)


def train_until_killed(group: Any, folder: Path, training: Any, at: int, victim: int) -> None:
    torch.manual_seed(0)
    program = training()
    files = Killer(at) if group.rank == victim else PosixFiles()
    ck = Checkpointer(folder, group=group, files=files, generation=1, timeout_s=0.4)
    for _ in range(4):
        torch.manual_seed(program.state.step)
        program.step()
        ck.save(program.state)
        ck.wait()
        (folder / f"acknowledged-{group.rank}").write_text(str(program.state.step))
    ck.close()


def straight_image(group: Any, training: Any, steps: int) -> Any:
    """What an undisturbed run has after so many steps, with as many threads as a rank has."""
    program = training()
    for _ in range(steps):
        torch.manual_seed(program.state.step)
        program.step()
    return program.image()


@pytest.mark.parametrize(
    ("victim", "at"), [(0, at) for at in (1, 4, 6, 8, 10, 12, 14, 24)] + [(1, 1), (1, 4), (1, 11)]
)
def test_killed_at_any_point_what_was_acknowledged_is_there(
    folder: Path, training: Any, ranks: Any, at: int, victim: int
) -> None:
    claim_generation(folder, 1)
    ranks(2, train_until_killed, folder, training, at, victim)
    told = [int(path.read_text()) for path in folder.glob("acknowledged-*")]
    program = training(seed=1)
    found = Checkpointer(folder, group=SingleProcess()).restore(program.state)
    step = found.step if found else 0
    assert step >= max(told, default=0)
    if found:
        assert ranks(1, straight_image, training, step) == [program.image()]
    with Checkpointer(folder, group=SingleProcess()) as ck:
        program.step()
        ck.save(program.state)
    assert verify(folder) == []
    assert len(list((folder / "data").iterdir())) == len(list_commits(folder))


class LateWriter(PosixFiles):
    """The file system of a rank that begins to write when rank 0 has long gone on."""

    def __init__(self, go: Path) -> None:
        self.go = go

    def make_folder(self, path: Path) -> None:
        deadline = time.monotonic() + 60
        while "000001-00000001" in path.name and not self.go.exists():
            assert time.monotonic() < deadline, "rank 0 never went on"
            time.sleep(0.01)
        super().make_folder(path)


def save_while_one_is_late(group: Any, folder: Path, training: Any) -> str:
    go = folder.parent / "go"
    program = training()
    files = FullForRank(0) if group.rank == 0 else LateWriter(go)
    ck = Checkpointer(folder, group=group, files=files, timeout_s=60)
    ck.restore(program.state, resume="never")
    first = "no error"
    for _ in range(3):
        program.step()
        try:
            ck.save(program.state)
        except CheckpointError as error:
            first = error.message
            if isinstance(files, FullForRank):
                files.rank = -1
        if group.rank == 0 and first != "no error":
            go.touch()  # the save after the failed one is on its way
    ck.close()
    return first


def test_a_rank_that_comes_late_to_a_failed_save_learns_why_it_failed(
    folder: Path, training: Any, ranks: Any
) -> None:
    for message in ranks(2, save_while_one_is_late, folder, training):
        assert message.startswith("disk full: the checkpoint of step 1 needs")
