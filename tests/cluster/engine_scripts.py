"""Scripts as people write them for each engine; their ranks tell where they ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.needs import missing

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


def _if_installed(backend: str) -> pytest.MarkDecorator:
    reason = missing(backend)
    return pytest.mark.skipif(bool(reason), reason=reason or "it is there")


ENGINES = {
    "torchrun": pytest.param("torchrun", TORCH),
    "horovod": pytest.param("horovod", HOROVOD, marks=_if_installed("horovod")),
    "horovod_mpi": pytest.param("horovod_mpi", HOROVOD, marks=_if_installed("horovod_mpi")),
    "mpi": pytest.param("mpi", MPI, marks=_if_installed("mpi")),
}


def reported(run_folder: Path) -> list[dict[str, Any]]:
    """Return what the ranks of `WHO` reported, in their order."""
    folder = run_folder / "who"
    files = sorted(folder.iterdir(), key=lambda file: int(file.name)) if folder.is_dir() else []
    return [json.loads(file.read_text()) for file in files]
