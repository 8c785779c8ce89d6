"""Counting steps of programs that report none."""

from __future__ import annotations

import contextlib

import torch

from launcher.runtime.process import StepCounter


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


def test_a_step_inside_the_step_of_a_wrapper_that_inherits_is_one_step() -> None:
    """As `horovod.torch.DistributedOptimizer` does it: a class made for the optimiser."""
    plain = optimizer()

    def step(self: torch.optim.Optimizer) -> None:
        super(type(self), self).step()  # type: ignore[misc]

    made = type("Wrapped", (type(plain),), {"step": step})
    wrapped = made(plain.param_groups, lr=0.1)
    seen: list[int] = []
    counter = StepCounter(seen.append)
    counter.install_if_possible()
    for _ in range(3):
        wrapped.step()
    counter.disable()
    assert seen == [1, 2, 3]


def test_a_step_that_failed_does_not_keep_the_next_from_being_counted() -> None:
    seen: list[int] = []
    counter = StepCounter(seen.append)
    counter.install_if_possible()
    shared = optimizer()

    def fail() -> float:
        raise RuntimeError("out of memory")

    with contextlib.suppress(RuntimeError):
        shared.step(fail)
    shared.step()
    counter.disable()
    assert seen == [1]
