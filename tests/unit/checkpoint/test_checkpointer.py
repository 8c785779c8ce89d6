"""The face of the library, in one process."""

from __future__ import annotations

import errno
import random
import resource
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from launcher import checkpoint
from launcher.checkpoint import Checkpointer, SingleProcess, list_commits, verify
from launcher.checkpoint.files import PosixFiles, Writer
from launcher.errors import CheckpointError, UnknownNameError

ALONE = SingleProcess()


@pytest.mark.parametrize("kind", ["adamw", "momentum", "sgd"])
def test_a_resumed_run_goes_on_bit_for_bit(folder: Path, training: Any, kind: str) -> None:
    """Losses after the resume are those of the run that was never interrupted, dropout included."""
    straight = training(kind=kind)
    with Checkpointer(folder, group=ALONE) as ck:
        ck.restore(straight.state)
        for _ in range(3):
            straight.step()
        ck.save(straight.state)
    expected = [straight.step() for _ in range(3)]

    resumed = training(kind=kind, seed=99)
    torch.rand(7)
    found = Checkpointer(folder, group=ALONE).restore(resumed.state, resume="required")
    assert found is not None
    assert (found.step, found.exact, found.note) == (3, True, "")
    assert [resumed.step() for _ in range(3)] == expected
    assert resumed.image() == straight.image()


def test_every_random_state_comes_back(folder: Path, training: Any) -> None:
    program = training()
    random.seed(5)
    random.gauss(0, 1)  # leaves half a pair behind
    np.random.seed(6)
    np.random.standard_normal()

    def draw() -> list[Any]:
        return [random.gauss(0, 1), np.random.standard_normal(3).tolist(), torch.rand(2).tolist()]

    with Checkpointer(folder, group=ALONE) as ck:
        program.step()
        ck.save(program.state)
        expected = draw()
    draw()
    Checkpointer(folder, group=ALONE).restore(training().state)
    assert draw() == expected


def test_what_is_saved_is_the_moment_of_the_call(folder: Path, training: Any) -> None:
    """Training goes on at once; steps taken while the save is being written must not show in it."""
    entered, go = threading.Event(), threading.Event()

    class Slow(PosixFiles):
        def create(self, path: Path) -> Writer:
            if path.suffix == ".safetensors":
                entered.set()
                assert go.wait(30)
            return super().create(path)

    program = training()
    ck = Checkpointer(folder, group=ALONE, files=Slow())
    program.step()
    image = program.image()
    ck.save(program.state)
    assert entered.wait(30)
    for _ in range(3):
        program.step()
    go.set()
    ck.close()
    loaded = training(seed=1)
    Checkpointer(folder, group=ALONE).restore(loaded.state)
    assert loaded.image() == image


def test_never_starts_over_and_auto_and_required_do_not(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    images = saved(2)
    program = training()
    ck = Checkpointer(folder, group=ALONE)
    assert ck.restore(program.state, resume="never") is None
    for resume in ("auto", "required"):
        found = ck.restore(program.state, resume=resume)
        assert found is not None
        assert found.step == 2
        assert program.image() == images[2]


def test_a_step_can_be_named(folder: Path, saved: Callable[..., Any], training: Any) -> None:
    images = saved(3)
    program = training()
    found = Checkpointer(folder, group=ALONE).restore(program.state, resume="2")
    assert found is not None
    assert program.image() == images[2]


def test_an_unknown_step_offers_those_there_are(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(3)
    with pytest.raises(UnknownNameError, match="unknown step `7`") as caught:
        Checkpointer(folder, group=ALONE).restore(training().state, resume="7")
    assert "1, 2, 3" in caught.value.hint
    assert caught.value.exit_code == 2


def test_an_unknown_word_for_resume_is_refused(folder: Path, training: Any) -> None:
    with pytest.raises(UnknownNameError, match="unknown resume `requird`") as caught:
        Checkpointer(folder, group=ALONE).restore(training().state, resume="requird")
    assert "did you mean `required`" in caught.value.hint


def test_required_without_a_checkpoint_is_an_error_and_auto_is_not(
    folder: Path, training: Any
) -> None:
    ck = Checkpointer(folder, group=ALONE)
    assert ck.restore(training().state, resume="auto") is None
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        ck.restore(training().state, resume="required")


def test_commits_that_vanished_are_never_a_silent_step_0(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(2)
    checkpoint.claim_generation(folder, 2)
    for path in (folder / "commits").iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match="none of them is left") as caught:
        Checkpointer(folder, group=ALONE).restore(training().state)
    assert "step 2 of generation 1" in caught.value.context
    assert caught.value.exit_code == 5


def test_another_model_is_named_by_its_first_differing_tensors(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(1)
    with pytest.raises(CheckpointError, match="of another model: ") as caught:
        Checkpointer(folder, group=ALONE).restore(training(width=32).state)
    assert "body.0.bias: checkpoint F32[24], model F32[32]" in caught.value.context
    assert "another run_id" in caught.value.hint


def test_a_model_that_ties_other_weights_is_another_model(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(1)
    program = training()
    program.model.head.weight = torch.nn.Parameter(program.model.head.weight.detach().clone())
    with pytest.raises(CheckpointError) as caught:
        Checkpointer(folder, group=ALONE).restore(program.state)
    assert (
        "head.weight: checkpoint tied to body.0.weight, model F32[24, 24]" in caught.value.context
    )


def test_other_parameter_groups_are_refused(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(1)
    program = training()
    program.state.optimizer = torch.optim.AdamW(program.model.parameters())
    with pytest.raises(CheckpointError, match="optimizer groups") as caught:
        Checkpointer(folder, group=ALONE).restore(program.state)
    assert "2 groups were saved, the optimizer has 1" in caught.value.context


def test_nothing_of_the_state_before_the_restore_is_left(folder: Path, training: Any) -> None:
    """A checkpoint from before the first step has no momentum, so there must be none afterwards."""
    fresh = training(kind="momentum")
    with Checkpointer(folder, group=ALONE) as ck:
        ck.save(fresh.state)
    stepped = training(kind="momentum")
    stepped.step()
    Checkpointer(folder, group=ALONE).restore(stepped.state)
    assert stepped.image() == fresh.image()
    assert not stepped.optimizer.state


def test_the_order_of_parameters_in_a_group_does_not_matter(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    images = saved(2)
    program = training()
    body, norm = (list(group["params"])[::-1] for group in program.optimizer.param_groups)
    program.optimizer = torch.optim.AdamW([{"params": body}, {"params": norm}])
    program.state.optimizer = program.optimizer
    program.state.scheduler = None
    Checkpointer(folder, group=ALONE).restore(program.state)
    for name, parameter in program.model.named_parameters():
        for key, value in program.optimizer.state[parameter].items():
            assert images[2][f"{name} {key}"] == (str(value.dtype), value.tolist())
    assert program.optimizer.param_groups[0]["betas"] == (0.8, 0.99)


def test_a_part_that_the_checkpoint_does_not_have_is_named(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    saved(1)
    program = training()
    program.state.extra["other"] = torch.zeros(2)
    program.state.scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(CheckpointError, match=r"has no scaler, extra\['other'\]"):
        Checkpointer(folder, group=ALONE).restore(program.state)


def test_weights_alone_can_be_restored(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    images = saved(2)
    program = training(seed=4)
    state = checkpoint.TrainingState(model=program.model)
    Checkpointer(folder, group=ALONE).restore(state)
    for name, tensor in program.model.state_dict().items():
        assert images[2][name] == (str(tensor.dtype), tensor.tolist())
    assert state.extra["average"].tolist() == images[2]["extra average"][1]


def test_a_gradient_scaler_comes_back(folder: Path, training: Any) -> None:
    program = training()
    program.state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    program.state.scaler.scale(torch.ones(1))
    with Checkpointer(folder, group=ALONE) as ck:
        program.step()
        ck.save(program.state)
    other = training()
    other.state.scaler = torch.amp.GradScaler("cpu")
    Checkpointer(folder, group=ALONE).restore(other.state)
    assert other.state.scaler.get_scale() == 1024.0


def test_wrapped_and_compiled_models_have_the_names_of_the_plain_one(
    folder: Path, saved: Callable[..., Any], training: Any
) -> None:
    images = saved(1)
    program = training()
    program.state.model = torch.compile(program.model, backend="eager")
    Checkpointer(folder, group=ALONE).restore(program.state)
    assert program.image() == images[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.bool])
def test_other_element_types_and_odd_shapes_come_back(
    folder: Path, training: Any, dtype: torch.dtype
) -> None:
    program = training()
    odd = {
        "scalar": torch.tensor(1.5).to(dtype),
        "empty": torch.zeros(0, 3, dtype=dtype),
        "strided": torch.arange(24).reshape(4, 6).to(dtype).t()[::2],
    }
    program.state.extra = dict(odd)
    with Checkpointer(folder, group=ALONE) as ck:
        program.state.step = 1
        ck.save(program.state)
    other = training()
    other.state.extra = {key: torch.zeros_like(value) for key, value in odd.items()}
    Checkpointer(folder, group=ALONE).restore(other.state)
    for key, value in odd.items():
        assert torch.equal(other.state.extra[key], value)
        assert other.state.extra[key].dtype == dtype


def test_a_step_that_is_committed_is_not_saved_again(folder: Path, training: Any) -> None:
    program = training()
    with Checkpointer(folder, group=ALONE) as ck:
        program.step()
        ck.save(program.state)
        ck.wait()
        ck.save(program.state)
    assert len(list_commits(folder)) == 1
    assert len(list((folder / "data").iterdir())) == 1


def test_the_callback_hears_of_durable_commits(folder: Path, training: Any) -> None:
    program = training()
    heard: list[tuple[int, int]] = []
    on_commit = lambda step: heard.append((step, len(list_commits(folder))))  # noqa: E731
    with Checkpointer(folder, group=ALONE, on_commit=on_commit) as ck:
        for _ in range(2):
            program.step()
            ck.save(program.state)
        ck.wait()
        assert ck.committed_step == 2
    assert heard == [(1, 1), (2, 2)]


class Full(PosixFiles):
    """A disk that is full after so many more bytes."""

    def __init__(self, room: int, *, tells: bool) -> None:
        self.room, self.tells = room, tells

    def free_bytes(self, folder: Path) -> int:
        return self.room if self.tells else 2**50

    def create(self, path: Path) -> Writer:
        return _FullSink(super().create(path), self)


class _FullSink:
    def __init__(self, sink: Writer, disk: Full) -> None:
        self._sink, self._disk = sink, disk

    def write(self, parts: Sequence[memoryview]) -> None:
        self._disk.room -= sum(part.nbytes for part in parts)
        if self._disk.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._sink.write(parts)

    def close(self) -> None:
        self._sink.close()

    def abandon(self) -> None:
        self._sink.abandon()


@pytest.mark.parametrize("tells", [True, False], ids=["seen beforehand", "met while writing"])
def test_a_full_disk_is_said_once_and_training_may_go_on(
    folder: Path, training: Any, tells: bool
) -> None:
    program = training()
    disk = Full(2**40, tells=tells)
    ck = Checkpointer(folder, group=ALONE, files=disk)
    program.step()
    ck.save(program.state)
    ck.wait()
    disk.room = 3000
    program.step()
    ck.save(program.state)
    program.step()
    with pytest.raises(
        CheckpointError, match=r"disk full: the checkpoint of step 2 needs .*free"
    ) as e:
        ck.save(program.state)
    assert "checkpoint.keep=2" in e.value.hint
    assert [path.name[:15] for path in (folder / "data").iterdir()] == ["000001-00000001"]
    disk.room = 2**40
    ck.save(program.state)
    ck.close()
    assert [info.step for info in list_commits(folder)] == [1, 3]
    assert verify(folder) == []


@pytest.mark.process
def test_a_limit_on_file_sizes_is_an_error_too(folder: Path, training: Any, ranks: Any) -> None:
    def body(group: Any) -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        program = training()
        program.step()
        ck = Checkpointer(folder, group=group)
        ck.save(program.state)
        try:
            ck.wait()
        except CheckpointError as error:
            return error.message
        return "saved"

    (answer,) = ranks(1, body)
    assert "disk full" in answer
    assert "a limit on file sizes is hit" in answer
    assert list((folder / "data").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CheckpointError, match="the checkpoint folder cannot be used"):
        Checkpointer(tmp_path / "file" / "checkpoints", group=ALONE)


def test_state_without_a_json_form_is_named_at_the_call(folder: Path, training: Any) -> None:
    program = training()
    program.state.scalars["odd"] = object()
    ck = Checkpointer(folder, group=ALONE)
    with pytest.raises(CheckpointError, match=r"`scalars\.odd` is a object"):
        ck.save(program.state)


def test_a_parameter_outside_the_model_is_refused(folder: Path, training: Any) -> None:
    program = training()
    program.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(3))]})
    ck = Checkpointer(folder, group=ALONE)
    with pytest.raises(CheckpointError, match=r"not in the model, of shape \(3,\)"):
        ck.save(program.state)


def test_reopening_a_generation_does_not_meet_its_own_left_overs(
    folder: Path, training: Any
) -> None:
    """A program started twice by hand has one generation; its half-done saves stay apart."""
    for _ in range(2):
        program = training()
        ck = Checkpointer(folder, group=ALONE, generation=1)
        program.step()
        (folder / "data").mkdir(exist_ok=True)
        ck.save(program.state)
        ck.wait()
        (folder / "commits" / "000001-00000001.json").unlink()
    assert len(list((folder / "data").iterdir())) == 2


def test_leaving_by_an_exception_still_finishes_the_save_in_flight(
    folder: Path, training: Any
) -> None:
    program = training()

    def body() -> None:
        with Checkpointer(folder, group=ALONE) as ck:
            program.step()
            ck.save(program.state)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    assert [info.step for info in list_commits(folder)] == [1]
