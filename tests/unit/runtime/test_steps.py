"""Counting steps of programs that report none."""

from __future__ import annotations

import torch

from launcher.runtime.steps import StepCounter


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def test_steps_are_those_of_the_busiest_optimizer() -> None:
    seen: list[int] = []
    counter = StepCounter(seen.append)
    assert counter.install_if_possible()
    first, second = optimizer(), optimizer()
    for each in (first, second, first, first):
        each.step()
    counter.disable()
    assert seen == [1, 2, 3]


def test_a_program_that_reports_its_steps_is_not_counted() -> None:
    seen: list[int] = []
    counter = StepCounter(seen.append)
    counter.install_if_possible()
    counter.disable()
    optimizer().step()
    assert seen == []
