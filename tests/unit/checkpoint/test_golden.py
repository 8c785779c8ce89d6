"""The format is pinned by a checkpoint that an earlier version wrote.

`golden/v1` must be readable for ever, and as long as the schema is 1 the same state must give the
same bytes. If this test fails because the format had to change: raise `SCHEMA`, keep the old folder
and its reading test, and write a new one with `python tests/unit/checkpoint/test_golden.py
tests/unit/checkpoint/golden/v2`.
"""

from __future__ import annotations

import random
import shutil
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from launcher import checkpoint
from launcher.checkpoint import Checkpointer, SingleProcess, list_commits, verify
from launcher.checkpoint.checksummed import decode_record
from launcher.checkpoint.layout import CommitRecord, GenerationRecord

GOLDEN = Path(__file__).parent / "golden" / "v1"


class Schedule:
    """Has the kinds of values that schedulers keep, but not those of one version of torch."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return self.values

    def load_state_dict(self, values: dict[str, Any]) -> None:
        self.values = values


def state() -> checkpoint.TrainingState:
    """A small state with everything in it.

    Two element types, a tied weight, a buffer, groups, extras.
    """
    model = torch.nn.Module()
    model.first = torch.nn.Linear(4, 6)
    model.second = torch.nn.Linear(4, 6, bias=False)
    model.second.weight = model.first.weight
    model.small = torch.nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
    model.register_buffer("count", torch.zeros((), dtype=torch.int64))
    optimizer = torch.optim.AdamW(
        [{"params": model.first.parameters(), "lr": 0.1}, {"params": [model.small], "lr": 0.01}]
    )
    for group in optimizer.param_groups:  # other options come and go with versions of torch
        for key in set(group) - {"params", "lr", "betas", "eps", "amsgrad", "foreach"}:
            del group[key]
    with torch.no_grad():
        for at, parameter in enumerate(model.parameters()):
            ramp = torch.arange(parameter.numel(), dtype=torch.float32).view(parameter.shape)
            parameter.copy_(ramp / 8 + at)
            optimizer.state[parameter] = {
                "step": torch.tensor(7.0),
                "exp_avg": (ramp * 2).to(parameter.dtype),
                "exp_avg_sq": (ramp * 3).to(parameter.dtype),
            }
        model.count.fill_(7)  # type: ignore[operator]
    schedule = Schedule()
    schedule.values = {
        "milestones": Counter({3: 2, 9: 1}),
        "last_lr": [0.1, 0.01],
        "lambdas": [None],
    }
    return checkpoint.TrainingState(
        model=model,
        optimizer=optimizer,
        scheduler=schedule,
        cursor=checkpoint.DataCursor(epoch=1, samples=96, seed=5),
        step=7,
        extra={"average": torch.arange(5, dtype=torch.float64)},
        scalars={"best": 0.1, "labels": ("a", "b"), "limit": float("inf")},
    )


def plain(found: checkpoint.TrainingState) -> dict[str, Any]:
    tensors = {**found.model.state_dict(), **found.extra}
    names: dict[object, str] = {item: name for name, item in found.model.named_parameters()}
    assert found.optimizer is not None
    for item, values in found.optimizer.state.items():
        tensors |= {f"{names[item]} {key}": value for key, value in values.items()}
    return {
        **{name: (item.dtype, item.tolist()) for name, item in tensors.items()},
        "groups": [{**group, "params": None} for group in found.optimizer.param_groups],
        "scheduler": found.scheduler.state_dict(),
        "rest": (found.cursor, found.step, found.scalars),
    }


class Pair:
    """Two ranks in one process: enough for what `write` does."""

    name = "golden"
    world_size = 2

    def __init__(self, rank: int, shared: dict[str, Any]) -> None:
        self.rank, self._shared = rank, shared

    def all_gather_object(self, obj: Any) -> list[Any]:
        """Rank 0 comes first, and only its answer is asked for."""
        if self.rank == 0:
            self._shared["said"] = obj
        return [self._shared["said"], None]


def write(folder: Path) -> None:
    shared: dict[str, Any] = {}
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    savers = [Checkpointer(folder, group=Pair(rank, shared), generation=1) for rank in range(2)]
    saved = state()
    for saver in savers:
        saver.save(saved)
    for saver in savers:
        saver.close()


def commit_of(folder: Path) -> CommitRecord:
    (info,) = list_commits(folder)
    return decode_record(CommitRecord, info.path.read_bytes())


def test_an_old_checkpoint_is_whole() -> None:
    assert verify(GOLDEN) == []
    (info,) = list_commits(GOLDEN)
    assert (info.generation, info.step, info.world_size, info.engine) == (1, 7, 2, "golden")


def test_an_old_checkpoint_restores_to_what_it_was(tmp_path: Path) -> None:
    copy = tmp_path / "checkpoints"
    shutil.copytree(GOLDEN, copy)
    expected, found = plain(state()), state()
    with torch.no_grad():
        for tensor in [*found.model.state_dict().values(), *found.extra.values()]:
            tensor.zero_()
    found.optimizer.state.clear()  # type: ignore[union-attr]
    found.scheduler.values = {}
    found.scalars, found.step, found.cursor = {}, 0, checkpoint.DataCursor()
    restored = Checkpointer(copy, group=SingleProcess(), generation=1).restore(found)
    assert restored is not None
    assert plain(found) == expected


def test_an_old_claim_can_be_read() -> None:
    claim = decode_record(GenerationRecord, (GOLDEN / "generations" / "000001.json").read_bytes())
    assert (claim.generation, claim.base, claim.info["world_size"]) == (1, None, 2)


def test_the_same_state_still_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path)
    old, new = commit_of(GOLDEN), commit_of(tmp_path)
    assert new.signature == old.signature
    for rank in range(2):
        for name in (f"s{rank:03d}.safetensors", f"r{rank:03d}.json"):
            before = (GOLDEN / "data" / old.data / name).read_bytes()
            after = (tmp_path / "data" / new.data / name).read_bytes()
            assert after == before, f"{name} is not what format {old.schema} was; see the docstring"
    assert new.manifests == old.manifests
    assert new.logical == old.logical


def test_no_thread_is_left_behind() -> None:
    assert not [item for item in threading.enumerate() if item.name.startswith("checkpoint-")]


if __name__ == "__main__":
    write(Path(sys.argv[1]))
