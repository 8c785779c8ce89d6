"""What moves tensors and objects between the ranks; one module per engine, imported on use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from launcher.errors import EngineMissingError, UnknownNameError

if TYPE_CHECKING:
    import torch

    from launcher.runtime.engines.engine import Engine
    from launcher.runtime.environ import LaunchEnviron, RankEnviron

__all__ = ["ENGINES", "connect"]

ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "single": "launcher.runtime.engines.single:connect",
        "horovod": "launcher.runtime.engines.horovod:connect",
        "horovod_mpi": "launcher.runtime.engines.horovod:connect",
        "mpi": "launcher.runtime.engines.mpi:connect",
        "torchrun": "launcher.runtime.engines.torch:connect",
    }
)
"""Name of a backend to the function that connects this rank with the others through it."""


def connect(place: RankEnviron, launch: LaunchEnviron, device: torch.device) -> Engine:
    """Connect this rank with the others; a world of one needs no engine at all.

    Raises:
        ConfigError: there are more ranks than logical shards.
        UnknownNameError: nobody knows the backend.
        EngineMissingError: its library is not installed.
    """
    name = "single" if place.world_size == 1 else launch.backend
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    module, function = ENGINES[name].split(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise EngineMissingError(
            f"the engine `{name}` needs `{error.name}`", hint="install it in the ranks' environment"
        ) from error
    engine = cast("Callable[..., Engine]", found)(place, launch, device)
    if launch.logical_shards is None:
        return engine
    from launcher.runtime.engines.logical import LogicalShards  # noqa: PLC0415 - imports torch

    return LogicalShards(engine, launch.logical_shards)
