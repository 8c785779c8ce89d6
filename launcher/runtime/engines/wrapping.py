"""Looking through what engines and compilers put around a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch

__all__ = ["without_wrappers"]


def without_wrappers(model: torch.nn.Module) -> torch.nn.Module:
    """Return the module that the program built, whatever `compile` and DDP put around it."""
    from torch.nn.parallel import DistributedDataParallel  # noqa: PLC0415 - programs only

    while True:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):  # what torch.compile returns
            model = cast("torch.nn.Module", model._orig_mod)
        else:
            return model
