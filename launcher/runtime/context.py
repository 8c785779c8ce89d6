"""The rank as the program sees it."""

from __future__ import annotations

import atexit
import functools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from launcher.errors import ConfigError, StagingError, nearest
from launcher.files import replace
from launcher.runtime import engines, process
from launcher.runtime.status import LineFile
from launcher.specs import RankState, RunLayout
from launcher.specs.secrets import reveal

if TYPE_CHECKING:
    import torch

    from launcher.runtime.engines.engine import Engine, Vote

__all__ = ["RankContext", "init"]


@functools.cache
def init() -> RankContext:
    """Connect this rank and return its context; the same value every time.

    Works under the launcher, under torchrun, and in a program started alone. From now on the
    program must call `should_stop`: a stop signal no longer ends it.

    Raises:
        ConfigError: the environment is inconsistent, or requires a GPU that does not exist.
    """
    rank = process.current()
    if rank is None:
        rank = process.begin(os.environ, redirect_output=False)
        rank.status.update(state=RankState.RUNNING)
    device = _device(rank)
    engine = engines.connect(rank.place, rank.launch, device)
    rank.stop.watch()
    context = RankContext(rank, engine, device)
    atexit.register(context.close)
    return context


class RankContext:
    """The place and configuration of this rank, its progress reports, its end. Made by `init`."""

    def __init__(self, rank: process.RankProcess, engine: Engine, device: torch.device) -> None:
        self._rank = rank
        self.engine = engine
        self.device = device
        self._vote: Vote | None = None
        self._stopping = False
        metrics = rank.layout.metrics if rank.layout and self.is_main else None
        self._metrics = LineFile(metrics)
        samples = rank.layout.rank_samples(self.rank) if rank.layout else None
        self._samples = LineFile(samples)

    # --- place

    @property
    def rank(self) -> int:
        return self._rank.place.rank

    @property
    def local_rank(self) -> int:
        return self._rank.place.local_rank

    @property
    def world_size(self) -> int:
        return self._rank.place.world_size

    @property
    def local_world_size(self) -> int:
        return self._rank.place.local_world_size

    @property
    def node_rank(self) -> int:
        return self._rank.place.node_rank

    @property
    def attempt(self) -> int:
        return self._rank.launch.attempt

    @property
    def run_id(self) -> str:
        return self._rank.launch.run_id

    @property
    def run_dir(self) -> Path:
        """The run folder; `run` in the current folder if none is set."""
        return self._rank.launch.run_dir or Path.cwd() / "run"

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    # --- configuration

    @functools.cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration of the run, with its secrets.

        Raises:
            ConfigError: the run folder has no configuration, or a secret is not set.
        """
        import yaml  # noqa: PLC0415 - plain scripts do not need it

        path = RunLayout(self.run_dir).config
        if not path.is_file():
            raise ConfigError(
                f"the run has no configuration: `{path}` does not exist",
                hint="start the program with `python -m launcher`, or set LAUNCHER_RUN_DIR to a "
                "folder with a config.yaml",
            )
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        return reveal(loaded, os.environ) if isinstance(loaded, dict) else {}

    def staged(self, name: str) -> Path:
        """Return the folder of a staged item.

        Raises:
            StagingError: nothing was staged under that name; the hint has the known names.
        """
        items = self._staged_items
        if name in items:
            return Path(items[name])
        near = nearest(name, items)
        guess = f"did you mean `{near}`? " if near else ""
        known = (
            f"staged: {', '.join(sorted(items))}" if items else "nothing was staged for this run"
        )
        raise StagingError(f"nothing was staged as `{name}`", hint=guess + known)

    @functools.cached_property
    def _staged_items(self) -> dict[str, str]:
        path = RunLayout(self.run_dir).staged
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    # --- progress

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Account the time of the body to `name`: `restore`, `train`, `eval`, `save` ..."""
        return self._rank.status.phase(name)

    def log_step(  # noqa: PLR0913 - one line of metrics.jsonl
        self,
        *,
        step: int,
        total_steps: int,
        epoch: float,
        loss: float,
        lr: float,
        samples: int,
        step_time_s: float,
    ) -> None:
        """Report a finished step. `samples` counts the samples of all ranks in this step."""
        self._rank.steps.disable()
        status = self._rank.status
        status.count_step(step)
        status.change(
            total_steps=total_steps,
            loss=float(loss),
            samples_per_s=samples / step_time_s if step_time_s > 0 else None,
        )
        self._metrics.append(
            {
                "step": step,
                "epoch": float(epoch),
                "loss": float(loss),
                "lr": float(lr),
                "samples": samples,
                "at": status.now(),
                "step_time_s": float(step_time_s),
                "attempt": self.attempt,
            }
        )

    def log_eval(self, *, step: int, metrics: Mapping[str, float]) -> None:
        """Report the result of an evaluation after `step`."""
        self._rank.status.progress()
        values = {name: float(value) for name, value in metrics.items()}
        at = self._rank.status.now()
        self._metrics.append({"step": step, "at": at, "attempt": self.attempt, "eval": values})

    def committed(self, step: int) -> None:
        """Report that the checkpoint of `step` is durable. Any thread may call it."""
        self._rank.status.progress()
        self._rank.status.update(committed_step=step)

    def record_samples(self, *, step: int, epoch: int, ids: Sequence[int]) -> None:
        """Record which samples this rank used, if `train.record_samples` is set."""
        if self._records_samples:
            self._samples.append({"step": step, "epoch": epoch, "ids": [int(each) for each in ids]})

    @functools.cached_property
    def _records_samples(self) -> bool:
        if not RunLayout(self.run_dir).config.is_file():
            return False
        train = self.config.get("train")
        return bool(train.get("record_samples")) if isinstance(train, dict) else False

    # --- end

    def should_stop(self) -> bool:
        """Return whether all ranks should save and exit now. Call it in every step, on all ranks.

        Every rank gets the same answer at the same call. Non-blocking: a call returns the result of
        the vote that the call before it started. Once true, it stays true. Call it in long
        evaluations too, equally often on every rank.
        """
        if self._stopping:
            return True
        if self.world_size == 1:
            self._stopping = self._rank.stop.requested
            return self._stopping
        before, self._vote = self._vote, self.engine.vote_start(self._rank.stop.requested)
        self._stopping = before is not None and self.engine.vote_result(before)
        return self._stopping

    def leave_saved(self, step: int) -> NoReturn:
        """End this rank: the run can be resumed from the committed `step`."""
        self._rank.status.update(state=RankState.SAVED, exit_code=0, committed_step=step)
        sys.exit(0)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Report the result of the run; that of rank 0 is written. The program may continue."""
        self._rank.status.progress()
        if self.is_main and self._rank.layout is not None:
            replace(self._rank.layout.result, json.dumps(dict(result), indent=2))

    def close(self) -> None:
        """Disconnect and close the files. This happens by itself when the program ends."""
        self._metrics.close()
        self._samples.close()
        self.engine.close()


def _device(rank: process.RankProcess) -> torch.device:
    import torch  # noqa: PLC0415 - programs that do not call `init` may not need it

    requested = rank.launch.device
    count = torch.cuda.device_count() if requested != "cpu" else 0
    if requested == "cuda" and count == 0:
        raise ConfigError(
            f"rank {rank.place.rank} was given a GPU but sees none",
            hint="check the driver with `nvidia-smi`, or use device=cpu",
        )
    if count == 0:
        return torch.device("cpu")
    device = torch.device("cuda", rank.place.local_rank % count)
    torch.cuda.set_device(device)
    return device
