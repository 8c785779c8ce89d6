"""What moves tensors and objects between the ranks: one module per engine, imported on use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from launcher.engines.table import BACKENDS
from launcher.errors import EngineMissingError
from launcher.extensions import load

if TYPE_CHECKING:
    import torch

    from launcher.runtime.engines.engine import Engine
    from launcher.runtime.environ import LaunchEnviron, RankEnviron

__all__ = ["connect"]

_SINGLE = "launcher.runtime.engines.single:connect"


def connect(place: RankEnviron, launch: LaunchEnviron, device: torch.device) -> Engine:
    """Connect this rank with the others; a world of one needs no backend.

    Raises:
        ConfigError: there are more ranks than logical shards.
        UnknownNameError: there is no such backend.
        EngineMissingError: its library is not installed.
    """
    alone = place.world_size == 1
    path = _SINGLE if alone else BACKENDS[launch.backend].connect
    try:
        join = cast("Callable[[RankEnviron, LaunchEnviron, torch.device], Engine]", load(path))
    except ModuleNotFoundError as error:
        raise EngineMissingError(
            f"backend={launch.backend} needs `{error.name}`",
            hint="install it in the ranks' environment",
        ) from error
    engine = join(place, launch, device)
    if launch.logical_shards is None:
        return engine
    from launcher.runtime.engines.logical import LogicalShards  # noqa: PLC0415 - imports torch

    return LogicalShards(engine, launch.logical_shards)
