"""Scripts as people write them for each engine; their ranks tell where they ran."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.engines import require
from launcher.errors import EngineMissingError

WHO = """
import json, os, pathlib, socket
{engine}
out = pathlib.Path(os.environ["LAUNCHER_RUN_DIR"]) / "who"
out.mkdir(exist_ok=True)
(out / str(rank)).write_text(json.dumps({{
    "host": socket.gethostname(), "world": world, "sum": total,
    "node_rank": int(os.environ["LAUNCHER_NODE_RANK"]), "name": os.environ["LAUNCHER_NODE_NAME"],
    "interface": os.environ.get("GLOO_SOCKET_IFNAME"),
}}))
"""

TORCH = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
found = torch.tensor([float(rank)])
dist.all_reduce(found)
total = found.item()
dist.destroy_process_group()
"""

HOROVOD = """
import horovod.torch as hvd, torch
hvd.init()
rank, world = hvd.rank(), hvd.size()
total = hvd.allreduce(torch.tensor([float(rank)]), op=hvd.Sum).item()
hvd.shutdown()
"""

MPI = """
from mpi4py import MPI
rank, world = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size
total = MPI.COMM_WORLD.allreduce(float(rank))
"""


def _without(*modules: str) -> bool:
    return any(importlib.util.find_spec(name) is None for name in modules)


def _missing(engine: str) -> bool:
    try:
        require(engine)
    except EngineMissingError:
        return True
    return False


ENGINES = {
    "torchrun": pytest.param("torchrun", TORCH),
    "horovod": pytest.param(
        "horovod",
        HOROVOD,
        marks=pytest.mark.skipif(_without("horovod"), reason="horovod is not installed"),
    ),
    "horovod_mpi": pytest.param(
        "horovod_mpi",
        HOROVOD,
        marks=pytest.mark.skipif(
            _missing("horovod_mpi"), reason="horovod with the mpi controller is not installed"
        ),
    ),
    "mpi": pytest.param(
        "mpi",
        MPI,
        marks=pytest.mark.skipif(
            _without("mpi4py") or not shutil.which("mpirun", path=str(Path(sys.executable).parent)),
            reason="mpi4py and mpirun are not installed",
        ),
    ),
}


def told(run_folder: Path) -> list[dict[str, Any]]:
    """Return what the ranks of `WHO` told, in their order."""
    folder = run_folder / "who"
    files = sorted(folder.iterdir(), key=lambda file: int(file.name)) if folder.is_dir() else []
    return [json.loads(file.read_text()) for file in files]
