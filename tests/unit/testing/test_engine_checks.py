"""The checks of engines pass a sound engine, and each catches an engine that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.runtime.engines.single import SingleEngine
from launcher.testing.engine_checks import run_checks
from launcher.testing.engines import CHECKS


class CopiesTensors(SingleEngine):
    def all_reduce(self, tensor: torch.Tensor, op: Any = "sum") -> torch.Tensor:
        return super().all_reduce(tensor.clone(), op)


class BroadcastsNothing(SingleEngine):
    def broadcast_object(self, obj: Any, root: int = 0) -> Any:
        return None


class GathersInAnyOrder(SingleEngine):
    def all_gather_object(self, obj: Any) -> list[Any]:
        return [obj, obj]


class VotesYes(SingleEngine):
    def vote_result(self, vote: Any) -> bool:
        return True


class ForgetsTheModel(SingleEngine):
    def unwrap(self, model: torch.nn.Module) -> torch.nn.Module:
        return torch.nn.Linear(2, 1)


WRONG = {
    "reductions": CopiesTensors,
    "broadcasts": BroadcastsNothing,
    "gathering": GathersInAnyOrder,
    "votes": VotesYes,
    "training": ForgetsTheModel,
}


def test_a_sound_engine_passes_every_check_that_the_suite_reports(tmp_path: Path) -> None:
    assert run_checks(SingleEngine(), tmp_path) == dict.fromkeys(CHECKS, "")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_engine_fails_its_check(name: str, tmp_path: Path) -> None:
    assert run_checks(WRONG[name](), tmp_path)[name]
