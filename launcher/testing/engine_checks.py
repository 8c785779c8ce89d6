"""The program that every rank runs for `EngineContract`: all checks in one start, one result each.

It writes `RANK.json` into the folder of its first argument: name of a check -> "" or the error.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from launcher import runtime
from launcher.errors import TrainingError
from launcher.runtime import Engine
from launcher.runtime.engines.logical import LogicalShards
from launcher.runtime.engines.single import SingleEngine

_PATIENCE_S = 60.0


def reductions(engine: Engine, _: Path) -> None:
    """`all_reduce` gives sum, mean and maximum; a tensor is changed in place."""
    world = engine.world_size
    mine = torch.tensor([float(engine.rank + 1), 1.0])
    total = sum(range(1, world + 1))
    _equal(engine.all_reduce(mine.clone()).tolist(), [total, world])
    _equal(engine.all_reduce(mine.clone(), "mean").tolist(), [total / world, 1.0])
    _equal(engine.all_reduce(mine.clone(), "max").tolist(), [world, 1.0])
    whole = torch.tensor([engine.rank])
    _true(engine.all_reduce(whole) is whole, "all_reduce must return the tensor that it was given")


def broadcasts(engine: Engine, _: Path) -> None:
    """Tensors and objects of one rank reach all others."""
    root = engine.world_size - 1
    tensor = torch.full((3,), float(engine.rank))
    _true(engine.broadcast(tensor, root) is tensor, "broadcast must work in place")
    _equal(tensor.tolist(), [root] * 3)
    _equal(engine.broadcast_object({"from": engine.rank}), {"from": 0})
    _equal(engine.broadcast_object({"from": engine.rank}, root), {"from": root})


def gathering(engine: Engine, _: Path) -> None:
    """Objects are gathered in the order of ranks."""
    expected = [f"r{rank}" for rank in range(engine.world_size)]
    _equal(engine.all_gather_object(f"r{engine.rank}"), expected)


def votes(engine: Engine, _: Path) -> None:
    """One yes is a yes for all, also with another collective between start and result."""
    yes, no = engine.rank == engine.world_size - 1, False
    _true(not engine.vote_result(engine.vote_start(no)), "the result of no votes is True")
    first, second = engine.vote_start(yes), engine.vote_start(no)
    engine.all_gather_object("another collective in between")
    _true(engine.vote_result(first), "the last rank voted yes, but the result is False")
    _true(not engine.vote_result(second), "the second vote has the result of the first")


def training(engine: Engine, _: Path) -> None:
    """All ranks start from equal parameters; gradients are averaged, also when accumulated."""
    torch.manual_seed(engine.rank)
    plain = torch.nn.Linear(2, 1)
    model = engine.wrap_model(plain)
    _true(engine.unwrap(model) is plain, "unwrap must return the model given to wrap_model")
    start = engine.all_gather_object(plain.weight.tolist())
    _equal(start, [start[0]] * engine.world_size)
    optimizer = engine.wrap_optimizer(torch.optim.SGD(model.parameters(), lr=1.0))
    before = plain.weight.detach().clone()
    for last in (False, True):
        with engine.accumulate(model, last=last):
            model(torch.full((1, 2), float(engine.rank + 1))).sum().backward()
    optimizer.step()
    mean = sum(range(1, engine.world_size + 1)) / engine.world_size
    _true(
        torch.allclose(before - plain.weight, torch.full((1, 2), 2 * mean)),
        f"expected gradients of {2 * mean}, got {(before - plain.weight).tolist()}",
    )


def shards(engine: Engine, _: Path) -> None:
    """With fixed logical shards, three steps with dropout have the bits of a single rank."""
    _equal([shard.number for shard in engine.shards], [engine.rank])
    _equal(engine.logical_shards, None)
    alone = _train_in_shards(LogicalShards(SingleEngine(), 7))
    together = _train_in_shards(LogicalShards(engine, 7))
    _true(all(map(torch.equal, together, alone)), "losses or parameters differ from a single rank")


def barriers(engine: Engine, folder: Path) -> None:
    """A barrier that the last rank misses ends for the others at its timeout."""
    engine.barrier(_PATIENCE_S)
    *others, _ = (folder / f"{rank}.gave-up" for rank in range(engine.world_size))
    if engine.rank < engine.world_size - 1:
        try:
            engine.barrier(0.5)
        except TrainingError:
            others[engine.rank].touch()
            return
        raise AssertionError("the barrier ended although one rank never came")
    deadline = time.monotonic() + _PATIENCE_S
    while not all(path.exists() for path in others):
        _true(time.monotonic() < deadline, "the other ranks still wait")
        time.sleep(0.01)


CHECKS = (reductions, broadcasts, gathering, votes, training, shards, barriers)
"""The barrier comes last: after one that a rank missed, the group cannot be used again."""


def _train_in_shards(engine: Engine) -> list[torch.Tensor]:
    """Return the losses of three steps, and the parameters after them."""
    torch.manual_seed(5 if engine.rank == 0 else 6)  # all ranks must start from rank 0's
    plain = torch.nn.Sequential(
        torch.nn.Linear(9, 40), torch.nn.Dropout(0.3), torch.nn.GELU(), torch.nn.Linear(40, 3)
    )
    model = engine.wrap_model(plain)
    optimizer = engine.wrap_optimizer(torch.optim.AdamW(model.parameters(), lr=0.01))
    losses = []
    for step in range(3):
        parts = []
        for shard in engine.shards:
            torch.manual_seed(100 * step + shard.number)
            samples = torch.randn(shard.number + 2, 9)
            with engine.accumulate(model, last=True):
                loss = model(samples).square().mean()
                loss.backward()
            parts.append(loss.detach())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(engine.sum_shards(parts))
    return [*losses, *(each.detach() for each in plain.parameters())]


def _equal(value: object, expected: object) -> None:
    if value != expected:
        raise AssertionError(f"expected {expected}, got {value}")


def _true(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not holds:
        raise AssertionError(otherwise)


def run_checks(engine: Engine, folder: Path) -> dict[str, str]:
    """Return the name of each check with its error, empty if it passed."""
    results = {}
    for check in CHECKS:
        try:
            check(engine, folder)
            results[check.__name__] = ""
        except Exception as error:
            results[check.__name__] = repr(error)
    return results


def main(folder: Path) -> None:
    """Run all checks on this rank and write the results."""
    engine = runtime.init().engine
    results = {"name": engine.name, **run_checks(engine, folder)}
    (folder / f"{engine.rank}.json").write_text(json.dumps(results), encoding="utf-8")
    engine.close()
    engine.close()  # a second close does nothing


if __name__ == "__main__":
    main(Path(sys.argv[1]))
