"""What every engine must do; run over all engines, on as many ranks as each can be given here.

The checks are functions of an engine. A worker script runs all of them on every rank, so that an
engine costs one start; each check is then reported as a test of its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launcher.engines import require
from launcher.engines.horovod_mpi import CONTROLLER
from launcher.engines.mpi import FLAVOURS
from launcher.errors import EngineMissingError

if TYPE_CHECKING:
    import torch

    from launcher.runtime import Engine

WORLDS = {"single": 1, "torch": 3, "mpi": 3, "horovod": 3, "horovod_mpi": 3}


def reductions(engine: Engine) -> None:
    import torch

    world = engine.world_size
    mine = torch.tensor([float(engine.rank + 1), 1.0])
    total = sum(range(1, world + 1))
    assert engine.all_reduce(mine.clone()).tolist() == [total, world]
    assert engine.all_reduce(mine.clone(), "mean").tolist() == [total / world, 1.0]
    assert engine.all_reduce(mine.clone(), "max").tolist() == [world, 1.0]
    whole = torch.tensor([engine.rank])
    assert engine.all_reduce(whole) is whole


def broadcasts(engine: Engine) -> None:
    import torch

    root = engine.world_size - 1
    tensor = torch.full((3,), float(engine.rank))
    assert engine.broadcast(tensor, root) is tensor
    assert tensor.tolist() == [root] * 3
    assert engine.broadcast_object({"from": engine.rank}) == {"from": 0}
    assert engine.broadcast_object({"from": engine.rank}, root) == {"from": root}


def gathering(engine: Engine) -> None:
    assert engine.all_gather_object(f"r{engine.rank}") == [
        f"r{rank}" for rank in range(engine.world_size)
    ]


def barriers(engine: Engine) -> None:
    """One that the last rank misses ends for the others while that rank stays away."""
    import time

    from launcher.errors import TrainingError

    engine.barrier(60.0)
    *others, _ = (Path(os.environ["FOUND"], f"{n}.gave-up") for n in range(engine.world_size))
    if engine.rank < engine.world_size - 1:
        with pytest.raises(TrainingError, match="did not meet"):
            engine.barrier(0.5)
        others[engine.rank].touch()
        return
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in others):
        assert time.monotonic() < deadline, "the others still wait"
        time.sleep(0.01)


def votes(engine: Engine) -> None:
    assert engine.vote_result(engine.vote_start(False)) is False
    last = engine.rank == engine.world_size - 1
    first, second = engine.vote_start(last), engine.vote_start(False)
    engine.all_gather_object("another collective in between")
    assert engine.vote_result(first) is True
    assert engine.vote_result(second) is False


def training(engine: Engine) -> None:
    """Gradients are the mean over the ranks, also when they are accumulated."""
    import torch

    torch.manual_seed(engine.rank)
    plain = torch.nn.Linear(2, 1)
    model = engine.wrap_model(plain)
    assert engine.unwrap(model) is plain
    start = engine.all_gather_object(plain.weight.tolist())
    assert all(each == start[0] for each in start)
    optimizer = engine.wrap_optimizer(torch.optim.SGD(model.parameters(), lr=1.0))
    before = plain.weight.detach().clone()
    for last in (False, True):
        with engine.accumulate(model, last=last):
            model(torch.full((1, 2), float(engine.rank + 1))).sum().backward()
    optimizer.step()
    mean = sum(range(1, engine.world_size + 1)) / engine.world_size
    assert torch.allclose(before - plain.weight, torch.full((1, 2), 2 * mean))


def shards(engine: Engine) -> None:
    """Cut into fixed shards, a few steps with dropout have the bits of one rank alone."""
    import torch

    from launcher.runtime.engines.logical import LogicalShards
    from launcher.runtime.engines.single import SingleEngine

    assert [shard.number for shard in engine.shards] == [engine.rank]
    assert engine.logical_shards is None
    expected = train_in_shards(LogicalShards(SingleEngine(), 7))
    found = train_in_shards(LogicalShards(engine, 7))
    assert all(map(torch.equal, found, expected))


def train_in_shards(engine: Engine) -> list[torch.Tensor]:
    """Return the losses of three steps, and the parameters after them."""
    import torch

    torch.manual_seed(5 if engine.rank == 0 else 6)  # all must start as rank 0
    plain = torch.nn.Sequential(
        torch.nn.Linear(9, 40), torch.nn.Dropout(0.3), torch.nn.GELU(), torch.nn.Linear(40, 3)
    )
    model = engine.wrap_model(plain)
    optimizer = engine.wrap_optimizer(torch.optim.AdamW(model.parameters(), lr=0.01))
    losses = []
    for step in range(3):
        parts = []
        for shard in engine.shards:
            torch.manual_seed(100 * step + shard.number)
            samples = torch.randn(shard.number + 2, 9)
            with engine.accumulate(model, last=True):
                loss = model(samples).square().mean()
                loss.backward()
            parts.append(loss.detach())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(engine.sum_shards(parts))
    return [*losses, *(each.detach() for each in plain.parameters())]


# The barrier comes last: one that some ranks missed leaves a group that cannot be used again.
CHECKS = (reductions, broadcasts, gathering, votes, training, shards, barriers)


def run_checks() -> None:
    """Run by every rank."""
    from launcher import runtime

    engine = runtime.init().engine
    found: dict[str, str] = {"name": engine.name}
    for check in CHECKS:
        try:
            check(engine)
            found[check.__name__] = ""
        except Exception as error:
            found[check.__name__] = repr(error)
    Path(os.environ["FOUND"], f"{engine.rank}.json").write_text(json.dumps(found))
    engine.close()
    engine.close()


def command(engine: str, world: int, port: int) -> list[str]:
    """Return what starts `world` ranks of this file under `engine`."""
    if "mpi" in engine:
        guard = [sys.executable, "-m", "launcher.runtime.guard", "--", __file__]
        mpirun = ["mpirun", "-np", str(world), *guard]
        return [sys.executable, "-m", "launcher.runtime.mpirun", "--", *mpirun]
    flags = ["--nproc-per-node", str(world), "--rdzv-endpoint", f"127.0.0.1:{port}"]
    if engine == "horovod":
        flags = ["--engine", "horovod", *flags]
    return [sys.executable, "-m", "launcher.runtime.agent", *flags, "--", __file__]


def variables(engine: str) -> dict[str, str]:
    return {
        "mpi": {**FLAVOURS, "LAUNCHER_BACKEND": "mpi"},
        "horovod": {"LAUNCHER_BACKEND": "horovod"},
        "horovod_mpi": {**FLAVOURS, **CONTROLLER, "LAUNCHER_BACKEND": "horovod_mpi"},
    }.get(engine, {})


@pytest.fixture(scope="module", params=sorted(WORLDS))
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    engine = request.param
    try:
        require(engine)
    except EngineMissingError as error:
        pytest.skip(error.message)
    folder = tmp_path_factory.mktemp(engine)
    world = WORLDS[engine]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = subprocess.run(
        command(engine, world, port),
        env={
            **{key: value for key, value in os.environ.items() if key != "LAUNCHER_RUN_DIR"},
            "FOUND": str(folder),
            "LAUNCHER_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            **variables(engine),
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    files = sorted(folder.glob("*.json"))
    assert len(files) == world
    return engine, [json.loads(path.read_text()) for path in files]


@pytest.mark.process
@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_every_engine_keeps_the_contract(found: Any, check: str) -> None:
    name, ranks = found
    assert [rank["name"] for rank in ranks] == [name.removesuffix("_mpi")] * len(ranks)
    assert [rank[check] for rank in ranks] == [""] * len(ranks)


def bare_mpirun(program: Path, lines: str) -> subprocess.CompletedProcess[str]:
    """Run a program of `lines` on two ranks, as a person who has only mpirun would."""
    from launcher.runtime import mpirun

    try:
        require("mpi")
    except EngineMissingError as error:
        pytest.skip(error.message)
    program.write_text(lines)
    ours = ("LAUNCHER_", "MASTER_", "RANK", "WORLD_SIZE")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [
            *(mpirun.find("mpirun", os.environ), "-np", "2"),
            *(sys.executable, "-m", "launcher.runtime", "--", str(program)),
        ],
        env={**bare, **FLAVOURS, "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_bare_mpirun_gives_its_ranks_the_engine_of_mpi(tmp_path: Path) -> None:
    done = bare_mpirun(
        tmp_path / "program.py",
        "import pathlib\n"
        "from launcher import runtime\n"
        "ctx = runtime.init()\n"
        "found = f'{ctx.world_size} {ctx.engine.name}'\n"
        "pathlib.Path(__file__).with_name(f'{ctx.rank}.txt').write_text(found)\n",
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["2 mpi", "2 mpi"]


def test_a_rank_of_a_bare_mpirun_that_fails_ends_those_that_wait_for_it(tmp_path: Path) -> None:
    done = bare_mpirun(
        tmp_path / "program.py",
        "from mpi4py import MPI\n"
        "if MPI.COMM_WORLD.rank == 1:\n"
        "    raise ValueError('this rank fails')\n"
        "MPI.COMM_WORLD.barrier()\n",
    )
    assert done.returncode == 1
    assert "ValueError: this rank fails" in done.stderr


if __name__ == "__main__":
    run_checks()
