"""What this machine has, found without importing torch."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Cores and GPUs that a run may use here."""

    cpus: int
    gpus: tuple[str, ...] = ()
    """As `CUDA_VISIBLE_DEVICES` writes them: indices or UUIDs."""

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> Machine:
        return cls(cpus=len(os.sched_getaffinity(0)), gpus=_gpus(environ))


def torch_has_cuda() -> bool:
    """Tell from the installed version whether torch is a CUDA build (`+cpu` builds are not)."""
    try:
        return not importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


def _gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    # A batch system restricts the devices of an allocation through this variable; "" means none.
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(part.strip() for part in visible.split(",") if part.strip())
    if not _NVIDIA_DEVICES.is_dir():
        return ()
    return tuple(str(index) for index, _ in enumerate(_NVIDIA_DEVICES.iterdir()))
