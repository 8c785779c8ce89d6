"""Counts steps with the workers of a data loader, until the file `hurry` is in the run folder."""

from __future__ import annotations

import time

import torch
from torch.utils.data import DataLoader, Dataset

from launcher import checkpoint, runtime


class Slow(Dataset[int]):
    """More samples than anybody waits for."""

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> int:
        time.sleep(0.2)
        return index


def main() -> None:
    ctx = runtime.init()
    state = checkpoint.TrainingState(model=torch.nn.Linear(2, 2))
    saved = checkpoint.Checkpointer(
        ctx.run_dir / "checkpoints",
        group=ctx.engine,
        generation=ctx.attempt,
        on_commit=ctx.committed,
    )
    saved.restore(state)
    for _ in DataLoader(Slow(), batch_size=1, num_workers=2):
        state.step += 1
        ctx.log_step(
            step=state.step,
            total_steps=0,
            epoch=0.0,
            loss=1.0,
            lr=0.1,
            samples=1,
            step_time_s=0.2,
        )
        if ctx.should_stop():
            saved.save(state)
            saved.wait()
            ctx.leave_saved(state.step)
        if ctx.engine.all_gather_object((ctx.run_dir / "hurry").exists())[0]:
            break
    saved.close()


main()
