"""Small training programs and real processes for the tests of checkpoints."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher import checkpoint


class FileGroup:
    """Ranks that communicate through files, without a port or a torch process group."""

    name = "files"

    def __init__(self, folder: Path, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        self._folder = folder
        self._calls = 0

    def all_gather_object(self, obj: Any) -> list[Any]:
        self._calls += 1
        mine = self._folder / f"{self._calls}.{self.rank}"
        mine.with_suffix(f".{self.rank}.tmp").write_bytes(pickle.dumps(obj))
        mine.with_suffix(f".{self.rank}.tmp").rename(mine)
        return [self._read(rank) for rank in range(self.world_size)]

    def _read(self, rank: int) -> Any:
        path = self._folder / f"{self._calls}.{rank}"
        deadline = time.monotonic() + 60
        while not path.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"rank {rank} did not come")
            time.sleep(0.001)
        return pickle.loads(path.read_bytes())


class Ranks:
    """Runs a function in one forked process per rank and returns what each answered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0

    def __call__(self, world_size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
        processes, answers = self.start(world_size, function, *args)
        for process in processes:
            process.join(60)
            assert process.exitcode is not None, "a rank hangs"
        return answers()

    def start(
        self, world_size: int, function: Callable[..., Any], *args: Any
    ) -> tuple[list[Any], Callable[[], list[Any]]]:
        self._runs += 1
        folder = self._folder / f"run{self._runs}"
        folder.mkdir()
        context = multiprocessing.get_context("fork")
        processes = [
            context.Process(target=_main, args=(folder, rank, world_size, function, args))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()

        def answers() -> list[Any]:
            files = [folder / f"answer.{rank}" for rank in range(world_size)]
            return [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]

        return processes, answers


def _main(
    folder: Path, rank: int, world_size: int, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    try:
        answer = function(FileGroup(folder, rank, world_size), *args)
    except Exception as error:
        answer = error
    (folder / f"answer.{rank}").write_bytes(pickle.dumps(answer))
    os._exit(0)


class Training:
    """A model, a tied weight and buffers, an optimizer, a scheduler; a step changes them all."""

    def __init__(self, *, seed: int = 0, kind: str = "adamw", width: int = 24) -> None:
        torch.manual_seed(seed)
        self.model = Tied(width)
        self.optimizer = self._optimizer(kind)
        self.state = checkpoint.TrainingState(
            model=self.model,
            optimizer=self.optimizer,
            scheduler=torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda at: 1 / (1 + at)),
            cursor=checkpoint.DataCursor(seed=11),
            extra={"average": torch.zeros(3, 5)},
            scalars={"best": 0.25, "seen": (1, 2)},
        )

    def _optimizer(self, kind: str) -> torch.optim.Optimizer:
        rest, heads = list(self.model.body.parameters()), list(self.model.norm.parameters())
        groups = [{"params": rest, "lr": 0.05}, {"params": heads, "lr": 0.01}]
        if kind == "adamw":
            return torch.optim.AdamW(groups, betas=(0.8, 0.99))
        return torch.optim.SGD(groups, momentum=0.9 if kind == "momentum" else 0.0)

    def step(self) -> float:
        """One step on data that depends on the step only, with noise from torch's random state."""
        generator = torch.Generator().manual_seed(self.state.step)
        inputs = torch.randn(8, self.model.width, generator=generator)
        loss = torch.nn.functional.dropout(self.model(inputs), 0.3).square().mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.state.scheduler.step()
        self.state.extra["average"] += 0.5
        self.state.step += 1
        self.state.cursor = checkpoint.DataCursor(samples=8 * self.state.step, seed=11)
        return loss.item()

    def image(self) -> dict[str, Any]:
        """Everything that a checkpoint must restore, as plain values that compare exactly."""
        tensors = dict(self.model.state_dict())
        tensors |= {f"extra {key}": value for key, value in self.state.extra.items()}
        names: dict[object, str] = {
            parameter: name for name, parameter in self.model.named_parameters()
        }
        for parameter, state in self.optimizer.state.items():
            tensors |= {
                f"{names[parameter]} {key}": value
                for key, value in state.items()
                if value is not None
            }
        return {
            **{key: (str(value.dtype), value.tolist()) for key, value in tensors.items()},
            "groups": [
                {key: value for key, value in group.items() if key != "params"}
                for group in self.optimizer.param_groups
            ],
            "scheduler": self.state.scheduler.state_dict(),
            "cursor": self.state.cursor,
            "step": self.state.step,
            "scalars": self.state.scalars,
        }


class Tied(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.body = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU())
        self.norm = torch.nn.BatchNorm1d(width)
        self.head = torch.nn.Linear(width, width, bias=False)
        self.head.weight = self.body[0].weight  # type: ignore[assignment]
        self.register_buffer("scratch", torch.zeros(2), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.norm(self.body(inputs)))
        return out


@pytest.fixture
def training() -> type[Training]:
    return Training


@pytest.fixture
def ranks(tmp_path: Path) -> Ranks:
    folder = tmp_path / "ranks"
    folder.mkdir()
    return Ranks(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder of the checkpoints of a test: in memory if possible, because saves call fsync."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path / "checkpoints"
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="checkpoint-test-") as made:
        yield Path(made) / "checkpoints"


@pytest.fixture
def saved(folder: Path) -> Callable[..., dict[int, dict[str, Any]]]:
    """Train in one process and save after each step. Returns what a load of each step must give."""

    def save(steps: int = 3, *, keep: int = 10, **options: Any) -> dict[int, dict[str, Any]]:
        program = Training(**options)
        images = {}
        with checkpoint.Checkpointer(folder, group=checkpoint.SingleProcess(), keep=keep) as ck:
            ck.restore(program.state)
            for _ in range(steps):
                program.step()
                ck.save(program.state)
                images[program.state.step] = program.image()
        return images

    return save
