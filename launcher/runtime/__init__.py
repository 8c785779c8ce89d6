"""What a program sees of the launcher: its rank, the engine, progress reports, stop requests.

::

    from launcher import runtime

    ctx = runtime.init()

The same program runs under the launcher, under torchrun, and alone with `python train.py`.
Importing this package is cheap: only `init` imports torch. `docs/runtime.md` describes it, and what
programs get that do not import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.runtime.context import RankContext, init
    from launcher.runtime.engines.engine import Engine, Shard, Vote

__all__ = ["Engine", "RankContext", "Shard", "Vote", "init"]

_HOMES = {
    "Engine": "launcher.runtime.engines.engine",
    "RankContext": "launcher.runtime.context",
    "Shard": "launcher.runtime.engines.engine",
    "Vote": "launcher.runtime.engines.engine",
    "init": "launcher.runtime.context",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - only programs pay for it

    return getattr(importlib.import_module(_HOMES[name]), name)
