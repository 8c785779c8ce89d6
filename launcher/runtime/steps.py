"""Steps of programs that do not report any: torch's optimisers are counted from outside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["StepCounter"]


class StepCounter:
    """Counts optimiser steps through torch's process-wide hook, from the moment torch is there.

    torch is never imported from here: a program without it must not pay for it.
    """

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self._on_step = on_step
        self._counts: dict[int, int] = {}
        self._open: set[int] = set()
        """Optimisers whose step has begun and was not counted yet."""
        self._largest = 0
        self._enabled = True
        self._installed = False

    def install_if_possible(self) -> bool:
        """Register the hooks once torch has been imported; tells whether they are registered."""
        optimizer = sys.modules.get("torch.optim.optimizer")
        before = getattr(optimizer, "register_optimizer_step_pre_hook", None)
        after = getattr(optimizer, "register_optimizer_step_post_hook", None)
        if not self._installed and before is not None and after is not None:
            before(self._begin)
            after(self._count)
            self._installed = True
        return self._installed

    def disable(self) -> None:
        """The program reports its own steps from now on."""
        self._enabled = False

    def _begin(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._open.add(id(optimizer))

    def _count(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        # A wrapper that inherits, as Horovod's, steps inside its own step, and torch calls the
        # hooks around both: two beginnings and two ends are one step.
        key = id(optimizer)
        if not self._enabled or key not in self._open:
            return
        self._open.discard(key)
        # A program may have several optimisers, as GANs do: the busiest one tells the step.
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        if count > self._largest:
            self._largest = count
            self._on_step(count)
