"""The same bits however the shards of a batch are dealt out, and programs that would break that.

That it holds over real engines is in tests/contract/test_engines.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from launcher.errors import ConfigError, TrainingError
from launcher.runtime.engines.logical import LogicalShards
from launcher.runtime.engines.single import SingleEngine


class OneOfThree(SingleEngine):
    """A rank that never talks to the others."""

    rank, world_size = 1, 3


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The number of threads is the process's: put it back."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def train(engine: LogicalShards, model: torch.nn.Module, *, pieces: int = 1) -> torch.Tensor:
    """Take one step on twelve samples; return the loss."""
    wrapped = engine.wrap_model(model)
    optimizer = engine.wrap_optimizer(torch.optim.SGD(model.parameters(), lr=0.1))
    losses = backward(engine, wrapped, pieces=pieces)
    optimizer.step()
    return engine.sum_shards(losses)


def backward(
    engine: LogicalShards, wrapped: torch.nn.Module, *, pieces: int = 1
) -> list[torch.Tensor]:
    data, losses = torch.arange(24.0).reshape(12, 2) / 7, []
    for shard in engine.shards:
        torch.manual_seed(shard.number)
        size = 12 // shard.count
        mine = data[shard.number * size :][:size].chunk(pieces)
        total = torch.zeros(())
        for number, piece in enumerate(mine, start=1):
            with engine.accumulate(wrapped, last=number == pieces):
                loss = wrapped(piece).square().sum()
                (loss * shard.count / 12).backward()
            total += loss.detach()
        losses.append(total)
    return losses


def net() -> Any:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))


def test_gradients_are_those_of_the_whole_batch() -> None:
    sharded, whole = net(), net()
    loss = train(LogicalShards(SingleEngine(), 4), sharded)
    assert loss.item() == pytest.approx(train(LogicalShards(SingleEngine(), 1), whole).item())
    for mine, theirs in zip(sharded.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_shard_may_be_computed_in_pieces() -> None:
    at_once, in_pieces = net(), net()
    train(LogicalShards(SingleEngine(), 4), at_once)
    train(LogicalShards(SingleEngine(), 4), in_pieces, pieces=3)
    for mine, theirs in zip(at_once.parameters(), in_pieces.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_gradients_are_added_to_those_that_are_there_as_torch_does() -> None:
    once, twice = net(), net()
    for model, steps in ((once, 1), (twice, 2)):
        engine = LogicalShards(SingleEngine(), 4)
        for _ in range(steps):
            backward(engine, engine.wrap_model(model))
    for mine, theirs in zip(twice.parameters(), once.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, 2 * theirs.grad)


def test_parameters_of_several_types_keep_them() -> None:
    model = net()
    model[2].bfloat16()
    model.insert(2, Narrow())
    train(LogicalShards(SingleEngine(), 4), model)
    assert [each.grad.dtype for each in model.parameters()] == [torch.float32] * 2 + [
        torch.bfloat16
    ] * 2


class Narrow(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.bfloat16()


def test_parameters_that_do_not_learn_are_left_alone() -> None:
    model = net()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    train(LogicalShards(SingleEngine(), 4), model)
    assert torch.equal(model[0].weight, before)
    assert model[0].weight.grad is None


def test_every_rank_computes_with_the_same_number_of_threads() -> None:
    LogicalShards(SingleEngine(), 4)
    assert torch.get_num_threads() == 1


def test_shards_are_dealt_out_as_neighbours() -> None:
    engine = LogicalShards(OneOfThree(), 8)
    assert [(shard.number, shard.count) for shard in engine.shards] == [(2, 8), (3, 8), (4, 8)]
    assert engine.logical_shards == 8


def test_more_ranks_than_shards_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 ranks cannot share 2 logical shards"):
        LogicalShards(OneOfThree(), 2)


def test_a_step_that_leaves_shards_out_is_refused() -> None:
    """A program that knows nothing of shards would train each rank for itself."""
    engine, model = LogicalShards(SingleEngine(), 4), net()
    optimizer = engine.wrap_optimizer(torch.optim.SGD(model.parameters(), lr=0.1))
    model(torch.ones(1, 2)).sum().backward()
    with pytest.raises(TrainingError, match="0 of its 4 logical shards") as caught:
        optimizer.step()
    assert "engine.shards" in caught.value.hint
    with engine.accumulate(model, last=True):
        model(torch.ones(1, 2)).sum().backward()
    with pytest.raises(TrainingError, match="1 of its 4 logical shards"):
        optimizer.step()


def test_a_model_whose_buffers_change_in_training_is_refused() -> None:
    """Running statistics would depend on which shards a rank has."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    with pytest.raises(TrainingError, match=r"changes `1\.(running_mean|num_batches_tracked)`"):
        train(LogicalShards(SingleEngine(), 4), model)
    model.eval()
    train(LogicalShards(SingleEngine(), 4), model)
